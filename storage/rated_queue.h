#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "storage/read_queue.h"

namespace switchyard {

// What a rated drive gives, and the clock it goes by.
struct DriveModel {
  double bytes_per_second = 0;
  double latency_seconds = 0;  // of each read, beside its bytes' share of the rate
  std::function<double()> now_seconds = {};
  std::function<void(double seconds)> sleep_until = {};
};

// A drive held to a rate: reads go to `inner` at once, if there is one, and are given back when a
// drive that serves them in turn would have them done. Without `inner` nothing is read and targets
// keep what they held: a drive that exists in time alone.
class RatedQueue final : public ReadQueue {
 public:
  RatedQueue(std::unique_ptr<ReadQueue> inner, uint32_t depth, DriveModel model);

  std::string_view name() const override { return name_; }
  uint32_t depth() const override { return depth_; }
  uint32_t in_flight() const override;
  bool offer(ReadOp& op) override;
  Status submit() override;
  Result<std::span<ReadOp* const>> reap(uint32_t count_min, double timeout_seconds) override;

 private:
  struct Pending {
    ReadOp* op;
    double done_at;
    bool arrived;
  };
  Status take_in(uint32_t count_min, double timeout_seconds);

  const std::unique_ptr<ReadQueue> inner_;
  const uint32_t depth_;
  const DriveModel model_;
  const std::string name_;
  double free_at_ = 0;  // the drive has served all that was submitted
  std::vector<ReadOp*> offered_;
  std::vector<Pending> pending_;  // in the order of done_at
  std::vector<ReadOp*> completed_;
};

}  // namespace switchyard
