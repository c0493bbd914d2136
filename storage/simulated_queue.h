#pragma once

#include <chrono>
#include <cstdint>
#include <vector>

#include "runtime/base/prng.h"
#include "storage/read_queue.h"

namespace switchyard {

// What goes wrong, and how late; the same seed gives the same faults, order and times.
struct FaultPlan {
  uint64_t seed = 0;
  std::chrono::nanoseconds latency_min{0};
  std::chrono::nanoseconds latency_mean{0};  // exponential above latency_min
  // Probabilities per transfer. A short read gives some whole pages and is continued, or none:
  // then the file seems to end there.
  double short_read = 0;
  double io_error = 0;
  double bit_flip = 0;
};

// Time that passes only when somebody says so.
struct ManualClock {
  std::chrono::nanoseconds now{0};
};

// A drive with faults: reads real files, completes out of order in simulated time. reap() moves
// the clock to the completion it waits for.
class SimulatedQueue final : public ReadQueue {
 public:
  // `clock` outlives the queue.
  SimulatedQueue(uint32_t depth, const FaultPlan& plan, ManualClock& clock);

  std::string_view name() const override { return "simulated"; }
  uint32_t depth() const override { return depth_; }
  uint32_t in_flight() const override;
  bool offer(ReadOp& op) override;
  Status submit() override;
  Result<std::span<ReadOp* const>> reap(uint32_t count_min, double timeout_seconds) override;

 private:
  struct Pending {
    ReadOp* op;
    std::chrono::nanoseconds done_at;
  };
  std::chrono::nanoseconds latency();
  bool happens(double probability) { return prng_.uniform() < probability; }
  // One transfer of the rest of `op`: bytes, or −errno.
  int64_t read_once(const ReadOp& op, uint32_t bytes_done);

  uint32_t depth_;
  FaultPlan plan_;
  ManualClock& clock_;
  Prng prng_;
  std::vector<ReadOp*> offered_;
  std::vector<Pending> pending_;  // sorted by done_at
  std::vector<ReadOp*> completed_;
};

}  // namespace switchyard
