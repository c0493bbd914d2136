#pragma once

#include <memory>

#include "storage/read_queue.h"

namespace switchyard {

// The fallback: a few threads that pread through the page cache.
class PreadQueue final : public ReadQueue {
 public:
  explicit PreadQueue(uint32_t depth);
  ~PreadQueue() override;

  std::string_view name() const override { return "pread"; }
  uint32_t depth() const override;
  uint32_t in_flight() const override;
  bool offer(ReadOp& op) override;
  Status submit() override;
  Result<std::span<ReadOp* const>> reap(uint32_t count_min, double timeout_seconds) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace switchyard
