#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experts/loader.h"
#include "experts/prefetch_gate.h"
#include "runtime/base/ids.h"

namespace switchyard {

class SlotPool;

// An expert that may be wanted when its layer comes next.
struct PrefetchJob {
  ExpertKey key;
  double probability = 0;
  uint32_t layers_ahead = 1;
};

struct PrefetchCounters {
  uint64_t started = 0;       // speculative loads
  uint64_t hits = 0;          // experts that were there in time because of them
  uint64_t late = 0;          // wanted while still on their way
  uint64_t useful_bytes = 0;  // read before they were wanted
  uint64_t wasted_bytes = 0;  // read for nothing
  uint64_t steps = 0;
  uint64_t steps_rested = 0;  // without speculation, because too much was wasted

  void add(const PrefetchCounters& other) {
    started += other.started;
    hits += other.hits;
    late += other.late;
    useful_bytes += other.useful_bytes;
    wasted_bytes += other.wasted_bytes;
    steps += other.steps;
    steps_rested += other.steps_rested;
  }
};

// The speculative side of a cache: starts loads ahead of demand and keeps the account of what
// became of them. One thread; never blocks.
class Prefetcher {
 public:
  Prefetcher(SlotPool& pool, ExpertLoader& loader, uint64_t expert_bytes,
             uint64_t bytes_per_step_max, uint64_t bytes_committed);

  PrefetchGate& gate() { return gate_; }
  void begin_step();
  // Starts the jobs that are worth it, in this order.
  void start(std::span<const PrefetchJob> jobs);

  // The expert in `slot`, resident, was read ahead and its checksum not taken yet.
  bool unverified(SlotIndex slot) const;
  // The expert in `slot`, resident, is wanted.
  void use(SlotIndex slot);
  // The expert on its way to `slot` is wanted now.
  void promote(SlotIndex slot);
  // `slot` was taken for another expert, or what it held is not worth having.
  void taken(SlotIndex slot);
  // A speculative load came to its end.
  void landed(const LoadEnd& end);
  // Drops what can still be dropped of `layer`'s jobs: its work has begun without them.
  void expire(uint16_t layer);
  // Drops one job for the room it takes; false when there is none.
  bool give_way();

  const PrefetchCounters& counters() const { return counters_; }
  void reset_counters() { counters_ = {}; }

 private:
  struct Job {
    SlotIndex slot;
    uint16_t layer = 0;
    PrefetchGate::Promise promise;
  };
  // An expert that is resident because of a prefetch and was not wanted yet.
  struct Unused {
    PrefetchGate::Promise promise;
    bool verified = false;
  };
  Job extract(SlotIndex slot);
  void drop(SlotIndex slot);
  void waste(const PrefetchGate::Promise& promise, uint64_t bytes);

  SlotPool& pool_;
  ExpertLoader& loader_;
  const uint64_t expert_bytes_;
  PrefetchGate gate_;
  std::vector<Job> on_their_way_;
  std::vector<std::optional<Unused>> unused_;  // [slots]
  PrefetchCounters counters_;
};

}  // namespace switchyard
