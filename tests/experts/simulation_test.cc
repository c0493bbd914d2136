#include "experts/simulation.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "runtime/base/prng.h"

namespace switchyard {
namespace {

constexpr uint32_t kLayers = 4, kExperts = 16, kTopK = 2;

// One request: a prompt of 4 tokens, then `tokens` more, each taking its experts of the token
// before with some probability, and what a router asked a layer and two before said: the truth.
RoutingTrace random_trace(uint32_t tokens, uint64_t seed) {
  Prng prng(seed);
  RoutingTrace trace;
  trace.shape = {
      .layers = {0, 1, 2, 3}, .experts = kExperts, .top_k = kTopK, .expert_bytes = 3 << 20};
  std::vector<RoutedExpert> last(kLayers * kTopK);
  for (uint32_t i = 0; i < 4 + tokens; ++i) {
    RoutingStep step;
    step.phase = i < 4 ? TracePhase::kPrefill : TracePhase::kDecode;
    step.tokens = {static_cast<TokenId>(i)};
    for (uint32_t at = 0; at < last.size(); at += kTopK) {
      if (i > 0 && prng.uniform() < 0.6) continue;
      last[at] = {static_cast<uint16_t>(prng.below(kExperts)), 0.6F};
      do {
        last[at + 1] = {static_cast<uint16_t>(prng.below(kExperts)), 0.4F};
      } while (last[at + 1].expert == last[at].expert);
    }
    step.routed = last;
    for (const char* kind : {"same-layer", "next-layer", "next-two"}) {
      step.predictions.push_back({kind, kTopK, last});
    }
    trace.steps.push_back(step);
  }
  return trace;
}

SimulationOptions options_of(uint32_t slots, const std::string& policy,
                             const std::string& predictor = "none") {
  return {.slots = slots,
          .policy = policy,
          .predictor = predictor,
          .expert_bytes = 3 << 20,
          .bytes_per_second = 1e9,
          .latency_seconds = 100e-6,
          .expert_seconds = 1e-3,
          .layer_seconds = 1e-3};
}

// What LRU is: a layer's experts are used in their order, then its misses evict what was used
// longest ago.
double lru_hit_rate(const RoutingTrace& trace, size_t slots) {
  std::map<ExpertKey, uint64_t> last;
  std::set<ExpertKey> resident;
  uint64_t now = 0, hits = 0, uses = 0;
  for (const RoutingStep& step : trace.steps) {
    for (uint16_t layer = 0; layer < kLayers; ++layer) {
      const auto route = step.at(trace.shape, layer, 0);
      std::vector<ExpertKey> missing;
      for (const RoutedExpert& expert : route) {
        const ExpertKey key{layer, expert.expert};
        last[key] = ++now;
        if (!resident.contains(key)) missing.push_back(key);
      }
      for (const ExpertKey key : missing) {
        if (resident.size() == slots) {
          resident.erase(std::ranges::min(resident, {}, [&](ExpertKey k) { return last[k]; }));
        }
        resident.insert(key);
      }
      if (step.phase == TracePhase::kPrefill) continue;
      uses += route.size();
      hits += route.size() - missing.size();
    }
  }
  return static_cast<double>(hits) / static_cast<double>(uses);
}

TEST(Simulation, LruEvictsWhatWasUsedLongestAgo) {
  const RoutingTrace trace = random_trace(300, 1);
  for (const uint32_t slots : {3U, 8U, 16U, 40U, 64U}) {
    const SimulationResult result = *simulate(trace, options_of(slots, "lru"));
    EXPECT_EQ(result.tokens, 300u);
    EXPECT_EQ(result.uses(), 300u * kLayers * kTopK);
    EXPECT_DOUBLE_EQ(result.hit_rate(), lru_hit_rate(trace, slots)) << slots;
  }
}

TEST(Simulation, TimeIsComputingAndStall) {
  const RoutingTrace trace = random_trace(100, 2);
  const SimulationResult slow = *simulate(trace, options_of(8, "lru"));
  const double computing = 100 * kLayers * (1e-3 + kTopK * 1e-3);
  EXPECT_NEAR(slow.seconds, computing + slow.stall_seconds, 1e-6);
  EXPECT_EQ(slow.bytes_read, slow.misses * (3 << 20));
  SimulationOptions fast = options_of(8, "lru");
  fast.bytes_per_second = 1e18;
  fast.latency_seconds = 0;
  EXPECT_NEAR(simulate(trace, fast)->seconds, computing, 1e-6);
}

// Nothing can be computed while the checksums of what is waited for are taken.
TEST(Simulation, ChecksumsOfWhatIsWaitedForAreStall) {
  const RoutingTrace trace = random_trace(100, 2);
  SimulationOptions options = options_of(kTopK, "lru");
  options.verify_seconds = 2e-3;
  options.bytes_per_second = 1e18;
  options.latency_seconds = 0;
  const SimulationResult fast = *simulate(trace, options);
  const double computing = 100 * kLayers * (1e-3 + kTopK * 1e-3);
  EXPECT_EQ(fast.hits, 0u);
  EXPECT_NEAR(fast.stall_seconds, fast.misses * 2e-3, 1e-6);
  EXPECT_NEAR(fast.seconds, computing + fast.stall_seconds, 1e-6);
}

// Where routers foresee the truth and the drive has time, nearly nothing is waited for.
TEST(Simulation, ForesightHidesTheStall) {
  const RoutingTrace trace = random_trace(200, 3);
  SimulationOptions options = options_of(24, "lru");
  options.bytes_per_second = 4e9;
  const SimulationResult blind = *simulate(trace, options);
  options.predictor = "next-two";
  const SimulationResult seeing = *simulate(trace, options);
  EXPECT_LT(seeing.stall_seconds, 0.3 * blind.stall_seconds);
  EXPECT_GT(seeing.prefetched, blind.misses / 2);
}

TEST(Simulation, BeingWrongCostsLittle) {
  const RoutingTrace trace = random_trace(400, 4);
  SimulationOptions options = options_of(24, "lru");
  const SimulationResult blind = *simulate(trace, options);
  options.predictor = "adversarial";
  const SimulationResult wrong = *simulate(trace, options);
  EXPECT_LT(wrong.seconds, 1.03 * blind.seconds);
  EXPECT_LT(wrong.wasted_bytes, wrong.bytes_read / 20);
}

TEST(Simulation, ADeviceKeepsWhatTheSlotsCannot) {
  const RoutingTrace trace = random_trace(200, 6);
  SimulationOptions options = options_of(8, "lru");
  const SimulationResult without = *simulate(trace, options);
  EXPECT_EQ(without.device_hits, 0u);
  options.device = {.slots = 56, .link_bytes_per_second = 10e9, .memory_bytes_per_second = 10e9};
  const SimulationResult with = *simulate(trace, options);
  EXPECT_GT(with.hit_rate(), 0.9);
  EXPECT_GT(with.device_hits, with.hits / 2);
  EXPECT_GE(with.copies, 40u);
  EXPECT_EQ(std::accumulate(with.misses_of_tokens.begin(), with.misses_of_tokens.end(), 0u),
            with.misses);
  options.device.link_bytes_per_second = 1e6;  // three seconds an expert
  EXPECT_NEAR(simulate(trace, options)->hit_rate(), without.hit_rate(), 0.1);
}

TEST(Simulation, APromptLeavesSlotsFilled) {
  RoutingTrace trace = random_trace(1, 7);
  trace.steps.erase(trace.steps.begin(), trace.steps.begin() + 4);  // the prompt
  SimulationOptions options = options_of(kLayers * kExperts, "lru");
  EXPECT_EQ(simulate(trace, options)->hits, 0u);
  options.prompted = true;
  EXPECT_EQ(simulate(trace, options)->misses, 0u);
}

TEST(Simulation, APredictorWithoutItsAnswersIsRefused) {
  RoutingTrace trace = random_trace(4, 5);
  for (RoutingStep& step : trace.steps) step.predictions.clear();
  const auto result = simulate(trace, options_of(8, "lru", "next-layer"));
  ASSERT_FALSE(result);
  EXPECT_EQ(result.error().code, Code::kUsage);
}

}  // namespace
}  // namespace switchyard
