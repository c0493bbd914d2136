#pragma once

#include <array>
#include <cstdint>

namespace switchyard {

// Whether a speculative read is worth starting. Learns from what became of earlier ones. Pure: time
// comes in as numbers.
class PrefetchGate {
 public:
  struct Job {
    double probability = 0;     // that it is used when its layer comes next
    uint32_t layers_ahead = 1;  // of the layer whose work goes on
    uint64_t bytes = 0;
    uint64_t bytes_ahead = 0;  // speculative reads that go before it
  };

  // `bytes_per_step_max`: what speculation may read in a step at most; `bytes_committed`: what of a
  // speculative read is on its way at once and cannot be taken back.
  PrefetchGate(uint64_t bytes_per_step_max, uint64_t bytes_committed)
      : bytes_per_step_max_(bytes_per_step_max), bytes_committed_(bytes_committed) {}

  // Of the layer that ended: how long it took, how much of that was spent waiting for reads, and
  // for how much of it the drive had no demand to serve.
  struct LayerTimes {
    double seconds = 0;
    double stalled_seconds = 0;
    double idle_seconds = 0;
  };
  void end_layer(const LayerTimes& times);
  void begin_step();
  // The drive gave `bytes` in `seconds` while it was asked for more than that.
  void observe_drive(double bytes, double seconds);
  // Handing on a speculative read and taking it in kept the computing thread for so long.
  void observe_overhead(double seconds);

  // True when the stall that is expected to be saved exceeds the expected delay of others; counts
  // the bytes against the step's budget then.
  bool admit(const Job& job);

  // What became of a job that was admitted as this probable, and of the bytes read for it.
  struct Promise {
    double probability = 0;
    uint32_t layers_ahead = 1;
  };
  void useful(const Promise& promise, uint64_t bytes);
  void wasted(const Promise& promise, uint64_t bytes);
  // Speculation rests for some steps: too much of what it read was wasted.
  bool resting() const { return rest_ > 0; }

  static constexpr double kUsefulPerWastedMin = 0.25;

 private:
  const uint64_t bytes_per_step_max_, bytes_committed_;
  uint64_t bytes_left_ = 0;
  uint32_t rest_ = 0;         // steps without speculation to come
  uint32_t rest_length_ = 0;  // of the last rest
  // Promises and outcomes of jobs so many layers ahead, older ones counting less.
  struct Account {
    double promised = 0, kept = 0;
    double trust() const;
  };
  Account& account(uint32_t layers_ahead) { return accounts_[layers_ahead > 1 ? 1 : 0]; }

  double useful_ = 0, wasted_ = 0;   // bytes, older ones count less
  std::array<Account, 2> accounts_;  // one layer ahead, and more
  double bytes_per_second_ = 0;      // of the drive; 0: not known
  double idle_seconds_ = 0;          // of the drive in a layer, as far as demand goes
  double overhead_seconds_ = 0;
  double busy_ = 0;  // share of the time that waits for the drive
};

}  // namespace switchyard
