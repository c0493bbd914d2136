#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "storage/read_queue.h"

namespace switchyard {

struct QueueChoice {
  std::unique_ptr<ReadQueue> queue;
  std::string
      warning;  // one line: why reads will be slower and what helps; empty when they are not
};

// io_uring where the system has it, else a thread pool over the page cache. `slab` is
// page-aligned, not empty, and outlives the queue; all targets lie in it. `direct_wanted` false
// reads through the page cache; a file without direct_fd() is read that way in any case.
QueueChoice open_read_queue(std::span<std::byte> slab, uint32_t depth, bool direct_wanted);

}  // namespace switchyard
