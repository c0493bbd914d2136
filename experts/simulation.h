#pragma once

// A routing trace replayed through the real cache, policy, predictor and prefetch code on a
// simulated clock and drive.

#include <cstdint>
#include <string>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/policies/policy.h"
#include "experts/routing_trace.h"
#include "experts/token_forecast.h"
#include "runtime/base/result.h"

namespace switchyard {

// A device above the slots, empty at first.
struct SimulatedTier {
  uint32_t slots = 0;                  // 0: there is no device
  double link_bytes_per_second = 0;    // to it
  double link_latency_seconds = 0;     // of each copy
  double memory_bytes_per_second = 0;  // of the host, which copies are weighed against
};

struct SimulationOptions {
  uint32_t slots = 0;  // experts in one pool over all layers
  std::string policy;
  std::string predictor;               // those that ask routers need a trace with their answers
  bool prefetch = true;                // false: predictions protect, and start no reads
  uint64_t expert_bytes = 0;           // of one expert
  double bytes_per_second = 0;         // of the drive
  double latency_seconds = 0;          // of each read
  double expert_seconds = 0;           // of computing one expert for one token
  double layer_seconds = 0;            // of the rest of a layer
  double verify_seconds = 0;           // of the checksum of an expert that was read
  const FutureUses* future = nullptr;  // for the oracle
  const TokenForecast* forecast = nullptr;  // null: nothing is foreseen
  SimulatedTier device = {};
  // As behind a run's prompt: slots hold the first experts, and all were swept once.
  bool prompted = false;
};

// Of decoding alone; the prompts warm the cache.
struct SimulationResult {
  uint64_t tokens = 0;
  uint64_t hits = 0;        // without prefetched experts
  uint64_t prefetched = 0;  // there in time
  uint64_t late = 0;        // being prefetched when wanted
  uint64_t misses = 0;      // late ones too
  uint64_t bytes_read = 0;
  uint64_t useful_bytes = 0, wasted_bytes = 0;
  uint64_t steps = 0, steps_rested = 0;
  uint64_t device_hits = 0;  // of the hits
  uint64_t copies = 0;       // to the device
  double seconds = 0;
  double stall_seconds = 0;                // ExpertCacheCounters
  std::vector<uint32_t> misses_of_tokens;  // [tokens]

  uint64_t uses() const { return hits + prefetched + misses; }
  double hit_rate() const;
  double tokens_per_second() const { return seconds > 0 ? tokens / seconds : 0; }
};

// When the replay of `trace` uses each expert.
FutureUses future_uses(const RoutingTrace& trace);

// Every token by itself, layers ascending; as in a run, a layer's experts are all known before the
// first of them evicts anything. kUsage for unknown names
// and for a predictor whose answers the trace does not hold.
Result<SimulationResult> simulate(const RoutingTrace& trace, const SimulationOptions& options);

}  // namespace switchyard
