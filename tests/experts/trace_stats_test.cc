#include "experts/trace_stats.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <list>

#include "tests/experts/trace_testing.h"

namespace switchyard {
namespace {

using testing::DoubleNear;

// One layer, one expert for each token.
RoutingTrace sequence(const std::vector<uint16_t>& experts, uint32_t pool) {
  RoutingTrace trace;
  trace.shape = {{0}, pool, 1, 0};
  for (const uint16_t expert : experts) {
    RoutingStep step;
    step.phase = TracePhase::kDecode;
    step.tokens = {-1};
    step.routed = {{expert, 1.0F}};
    trace.steps.push_back(step);
  }
  return trace;
}

TEST(TraceStats, ReuseDistanceIsTheExpertsTouchedBetween) {
  const TraceStats stats = measure_trace(sequence({0, 0, 1, 2, 1, 0, 2, 2}, 4));
  // 0: 0; 1: 1 (2); 0: 2 (1, 2); 2: 2 (1, 0); 2: 0
  EXPECT_EQ(stats.first_uses, 3U);
  EXPECT_EQ(stats.reuse_median, 1U);
  ASSERT_EQ(stats.reuse.size(), 3U);
  EXPECT_EQ(stats.reuse[0].uses, 2U);
  EXPECT_EQ(stats.reuse[1].uses, 1U);
  EXPECT_EQ(stats.reuse[2].uses, 2U);
  EXPECT_EQ(stats.reuse[2].from, 2U);
  EXPECT_EQ(stats.reuse[2].to, 4U);
}

// An LRU cache of C slots hits exactly the uses whose distance is below C.
TEST(TraceStats, ReuseDistancesAreThoseOfAnLruStack) {
  Prng prng(1);
  RoutingTrace trace;
  trace.shape = {{1, 4, 5}, 11, 3, 0};
  trace.steps = random_steps(trace.shape, 80, 6, prng);
  const TraceStats stats = measure_trace(trace);
  std::list<std::pair<size_t, uint16_t>> stack;
  std::vector<uint64_t> distances(33);
  for (const RoutingStep& step : trace.steps) {
    for (size_t token = 0; token < step.tokens.size(); ++token) {
      for (size_t layer = 0; layer < 3; ++layer) {
        for (const RoutedExpert& chosen : step.at(trace.shape, layer, token)) {
          const std::pair key(layer, chosen.expert);
          const auto found = std::find(stack.begin(), stack.end(), key);
          if (found != stack.end()) {
            distances[static_cast<size_t>(std::distance(stack.begin(), found))] += 1;
            stack.erase(found);
          }
          stack.push_front(key);
        }
      }
    }
  }
  EXPECT_EQ(stats.touched, stack.size());
  EXPECT_EQ(stats.reuse.back().to, 33U);
  for (const ReuseBucket& bucket : stats.reuse) {
    uint64_t expected = 0;
    for (uint64_t distance = bucket.from; distance < bucket.to; ++distance) {
      expected += distances[distance];
    }
    EXPECT_EQ(bucket.uses, expected) << bucket.from;
  }
}

TEST(TraceStats, PopularityIsWhatTheFirstGet) {
  std::vector<uint16_t> experts(70, 3);
  experts.insert(experts.end(), 20, 8);
  experts.insert(experts.end(), 10, 1);
  const TraceStats stats = measure_trace(sequence(experts, 10));
  EXPECT_EQ(stats.popularity[0], 0);
  EXPECT_EQ(stats.popularity[10], 0.7);
  EXPECT_EQ(stats.popularity[20], 0.9);
  EXPECT_EQ(stats.popularity[50], 1);
  EXPECT_EQ(stats.popularity[100], 1);
}

TEST(TraceStats, WorkingSetsAreByWindow) {
  std::vector<uint16_t> experts;
  for (uint16_t i = 0; i < 20; ++i) experts.push_back(i < 8 ? i : 9);
  const TraceStats stats = measure_trace(sequence(experts, 16));
  ASSERT_EQ(stats.working_sets.size(), 4U);
  EXPECT_EQ(stats.working_sets[0].mean, 1);
  EXPECT_EQ(stats.working_sets[1].mean, 4.5);  // 8 and 1
  EXPECT_EQ(stats.working_sets[1].max, 8U);
  EXPECT_EQ(stats.working_sets[2].mean, 9);  // shorter than the window
  EXPECT_EQ(stats.working_sets[3].tokens, 20U);
  EXPECT_EQ(stats.working_sets[3].max, 9U);
}

TEST(TraceStats, SkewIsNothingWhenAllArePickedAlike) {
  const TraceStats even = measure_trace(sequence({0, 1, 2, 3}, 4));
  EXPECT_EQ(even.layers.at(0).entropy_bits, 2);
  EXPECT_THAT(even.layers.at(0).gini, DoubleNear(0, 1e-12));
  EXPECT_EQ(even.layers.at(0).imbalance, 1);
  const TraceStats one = measure_trace(sequence({2, 2, 2, 2}, 4));
  EXPECT_EQ(one.layers.at(0).entropy_bits, 0);
  EXPECT_THAT(one.layers.at(0).gini, DoubleNear(0.75, 1e-12));
  EXPECT_EQ(one.layers.at(0).imbalance, 4);
}

TEST(TraceStats, ATraceWithoutStepsHasFigures) {
  const TraceStats stats = measure_trace(sequence({}, 4));
  EXPECT_EQ(stats.uses, 0U);
  EXPECT_EQ(stats.popularity[50], 0);
  EXPECT_EQ(stats.reuse_median, 0U);
  EXPECT_EQ(stats.working_sets[1].mean, 0);
  EXPECT_EQ(stats.layers.at(0).imbalance, 0);
}

}  // namespace
}  // namespace switchyard
