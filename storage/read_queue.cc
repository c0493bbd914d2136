#include "storage/read_queue.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "storage/input_file.h"
#include "storage/read_progress.h"

namespace switchyard {

std::optional<int32_t> settle_transfer(const ReadOp& op, uint32_t& bytes_done, int64_t got) {
  if (got == -EINTR || got == -EAGAIN) return std::nullopt;
  if (got < 0) return static_cast<int32_t>(got);
  const uint64_t arrived = bytes_done + static_cast<uint64_t>(got);
  if (arrived >= op.bytes_needed) return 0;
  const auto whole_pages = static_cast<uint32_t>(round_down(arrived, kPageBytes));
  if (whole_pages == bytes_done) return -ENODATA;
  bytes_done = whole_pages;
  return std::nullopt;
}

void check_read_op(const ReadOp& op) {
  CHECK(op.file != nullptr);
  CHECK_THAT(op.offset % kPageBytes == 0, "offset {}", op.offset);
  CHECK_THAT(reinterpret_cast<uintptr_t>(op.target.data()) % kPageBytes == 0, "target {}",
             static_cast<const void*>(op.target.data()));
  CHECK_THAT(op.target.size() % kPageBytes == 0 && op.target.size() <= (uint64_t{1} << 30),
             "target of {} bytes", op.target.size());
  CHECK_THAT(op.bytes_needed > 0 && op.bytes_needed <= op.target.size(), "{} bytes needed of {}",
             op.bytes_needed, op.target.size());
}

tl::unexpected<Error> fail_late(const ReadOp& late, double timeout_seconds) {
  return fail(Code::kIo,
              fmt::format("read of {} bytes at {} not done after {} s", late.target.size(),
                          late.offset, timeout_seconds),
              late.file->path(), "check the drive");
}

Error read_error(const ReadOp& op) {
  CHECK(op.result != 0);
  if (op.result == -ENODATA) {
    return {Code::kBadData,
            fmt::format("truncated: ends within the {} bytes at {}", op.bytes_needed, op.offset),
            op.file->path(), "fetch it again"};
  }
  return {Code::kIo,
          fmt::format("cannot read {} bytes at {}: {}", op.bytes_needed, op.offset,
                      std::strerror(-op.result)),
          op.file->path(), "check the drive"};
}

}  // namespace switchyard
