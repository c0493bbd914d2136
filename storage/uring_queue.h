#pragma once

#include <memory>

#include "storage/read_queue.h"

namespace switchyard {

inline constexpr uint64_t kUringBufferBytesMax = uint64_t{1} << 30;  // the kernel's own limit

// Reads by io_uring, past the page cache where the file allows it. Linux only.
class UringQueue final : public ReadQueue {
 public:
  // Registers `slab` with the kernel, in buffers of `buffer_bytes_max`, where RLIMIT_MEMLOCK lets
  // it. kUnavailable when the system refuses io_uring (old kernel, seccomp, sysctl).
  static Result<std::unique_ptr<UringQueue>> open(std::span<std::byte> slab, uint32_t depth,
                                                  bool direct_wanted,
                                                  uint64_t buffer_bytes_max = kUringBufferBytesMax);
  ~UringQueue() override;

  std::string_view name() const override;
  uint32_t depth() const override;
  uint32_t in_flight() const override;
  bool offer(ReadOp& op) override;
  Status submit() override;
  Result<std::span<ReadOp* const>> reap(uint32_t count_min, double timeout_seconds) override;

  bool registered() const;

 private:
  struct State;
  explicit UringQueue(std::unique_ptr<State> state);

  std::unique_ptr<State> state_;
};

}  // namespace switchyard
