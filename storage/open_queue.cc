#include "storage/open_queue.h"

#include "storage/pread_queue.h"
#include "storage/uring_queue.h"

namespace switchyard {

QueueChoice open_read_queue(std::span<std::byte> slab, uint32_t depth, bool direct_wanted) {
  auto uring = UringQueue::open(slab, depth, direct_wanted);
  if (uring) return {*std::move(uring), {}};
  return {std::make_unique<PreadQueue>(depth),
          "reading by pread through the page cache, which is slower: " + to_line(uring.error())};
}

}  // namespace switchyard
