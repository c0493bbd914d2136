#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/prng.h"
#include "storage/read_queue.h"

namespace switchyard {

// What goes wrong with how many of the reads, from 0 to 1; the same seed and reads give the same
// faults. A fault passes: the next read of that place is spared, unless the rate is 1.
struct FaultMix {
  uint64_t seed = 0;
  double io_error = 0;
  double short_read = 0;
  double bit_flip = 0;
  double delay = 0;  // given back some milliseconds late
};

// "SEED[,KIND[=RATE]…]" with the kinds eio, short-read, bit-flip and delay; a rate is 0.01 unless
// given; without kinds, all of them. kUsage.
Result<FaultMix> parse_faults(std::string_view text);

// A drive on which reads fail: what `inner` gives, spoilt by a seeded plan.
class FaultyQueue final : public ReadQueue {
 public:
  FaultyQueue(std::unique_ptr<ReadQueue> inner, const FaultMix& mix);

  std::string_view name() const override { return name_; }
  uint32_t depth() const override { return inner_->depth(); }
  uint32_t in_flight() const override;
  bool offer(ReadOp& op) override { return inner_->offer(op); }
  Status submit() override { return inner_->submit(); }
  Result<std::span<ReadOp* const>> reap(uint32_t count_min, double timeout_seconds) override;

 private:
  using Clock = std::chrono::steady_clock;
  struct Held {
    ReadOp* op;
    Clock::time_point until;
  };
  using Place = std::pair<const InputFile*, uint64_t>;  // file, offset
  bool happens(double probability) { return prng_.uniform() < probability; }
  void spoil(ReadOp& op);
  void release(Clock::time_point now);

  const std::unique_ptr<ReadQueue> inner_;
  const FaultMix mix_;
  const std::string name_;
  Prng prng_;
  std::set<Place> spoilt_;  // by their last read
  std::vector<Held> held_;
  std::vector<ReadOp*> completed_;
};

}  // namespace switchyard
