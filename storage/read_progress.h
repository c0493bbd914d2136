#pragma once

#include <cstdint>
#include <optional>

#include "storage/read_queue.h"

namespace switchyard {

// What all queues do with one transfer of an operation. `bytes_done` is what had arrived before
// (whole pages) and grows by the whole pages that came; `got` is what the transfer gave: bytes, or
// −errno. The operation's result when it is over, nothing when the rest is to be read: after EINTR
// and EAGAIN, and after a short read unless it shows the end of the file.
std::optional<int32_t> settle_transfer(const ReadOp& op, uint32_t& bytes_done, int64_t got);

// Aborts on an operation that breaks the rules of ReadOp.
void check_read_op(const ReadOp& op);

// The error of reap() when `late` did not come in time.
[[nodiscard]] tl::unexpected<Error> fail_late(const ReadOp& late, double timeout_seconds);

}  // namespace switchyard
