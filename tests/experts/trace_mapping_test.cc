#include "experts/trace_mapping.h"

#include <gtest/gtest.h>

#include <set>

#include "tests/experts/trace_testing.h"

namespace switchyard {
namespace {

RoutingTrace small_trace() {
  RoutingTrace trace;
  trace.shape = {{0, 1}, 8, 3, 100};
  RoutingStep step;
  step.tokens = {5, 6};
  step.routed = {{0, .5F}, {4, .3F}, {5, .2F}, {7, .6F}, {3, .3F}, {2, .1F},  // layer 0
                 {1, .5F}, {2, .3F}, {3, .2F}, {0, -1},  {0, -1},  {0, -1}};  // layer 1
  step.predictions = {{"next-layer",
                       2,
                       {{0, -1},
                        {0, -1},
                        {0, -1},
                        {0, -1},  // layer 0
                        {6, .5F},
                        {2, .4F},
                        {1, .5F},
                        {5, .1F}}}};
  trace.steps = {step};
  return trace;
}

std::vector<uint16_t> experts_at(const RoutingTrace& trace, size_t layer, size_t token) {
  std::vector<uint16_t> experts;
  for (const RoutedExpert& routed : trace.steps[0].at(trace.shape, layer, token)) {
    experts.push_back(routed.expert);
  }
  return experts;
}

TEST(MapTrace, TakesLayersInTurnAndTheNextFreeExpert) {
  const RoutingTrace mapped = map_trace(small_trace(), {2, 3, 7}, 4).value();
  EXPECT_EQ(mapped.shape, (TraceShape{{2, 3, 7}, 4, 3, 100}));
  EXPECT_EQ(experts_at(mapped, 0, 0), (std::vector<uint16_t>{0, 1, 2}));  // 4 is 0, taken; 5 is 1
  EXPECT_EQ(experts_at(mapped, 0, 1), (std::vector<uint16_t>{3, 0, 2}));  // 3 is taken: on to 0
  EXPECT_EQ(experts_at(mapped, 1, 0), (std::vector<uint16_t>{1, 2, 3}));
  EXPECT_TRUE(experts_at(mapped, 1, 1).empty()) << "not recorded";
  EXPECT_EQ(experts_at(mapped, 2, 0), experts_at(mapped, 0, 0));
  const TracePrediction& said = mapped.steps[0].predictions.at(0);
  ASSERT_EQ(said.answers.size(), 3u * 2 * 2);
  EXPECT_LT(said.answers[0].gate_weight, 0) << "nobody asks for the first layer";
  EXPECT_EQ(said.answers[4].expert, 2);  // 6
  EXPECT_EQ(said.answers[5].expert, 3);  // 2 is taken
  EXPECT_EQ(said.answers[6].expert, 1);
}

TEST(MapTrace, AModelOfTheSameShapeRoutesAsRecorded) {
  Prng prng(4);
  const TraceShape shape{{0, 1, 2}, 16, 4, 0};
  RoutingTrace trace{shape, "", random_steps(shape, 20, 3, prng)};
  const RoutingTrace mapped = map_trace(trace, {0, 1, 2}, 16).value();
  for (size_t step = 0; step < trace.steps.size(); ++step) {
    for (size_t layer = 0; layer < 3; ++layer) {
      for (size_t token = 0; token < trace.steps[step].tokens.size(); ++token) {
        const auto before = trace.steps[step].at(shape, layer, token);
        const auto after = mapped.steps[step].at(shape, layer, token);
        EXPECT_TRUE(same_rows({before.begin(), before.end()}, {after.begin(), after.end()}));
      }
    }
  }
}

TEST(MapTrace, ATokensExpertsAreDistinctWhateverTheModel) {
  Prng prng(5);
  const TraceShape shape{{0, 1, 2}, 16, 4, 0};
  RoutingTrace trace{shape, "", random_steps(shape, 50, 3, prng)};
  for (const uint32_t experts : {4U, 5U, 7U, 64U}) {
    const RoutingTrace mapped = map_trace(trace, {0, 1, 2, 3, 4}, experts).value();
    for (const RoutingStep& step : mapped.steps) {
      for (size_t row = 0; row < 5 * step.tokens.size(); ++row) {
        std::set<uint16_t> distinct;
        for (uint32_t i = 0; i < 4; ++i) {
          EXPECT_LT(step.routed[row * 4 + i].expert, experts);
          distinct.insert(step.routed[row * 4 + i].expert);
        }
        EXPECT_EQ(distinct.size(), 4u);
      }
    }
  }
}

TEST(MapTrace, RefusesWhatDoesNotFit) {
  EXPECT_EQ(map_trace(small_trace(), {0}, 2).error().code, Code::kUsage);
  EXPECT_EQ(map_trace(RoutingTrace{small_trace().shape, "", {}}, {0}, 8).error().code,
            Code::kBadData);
}

}  // namespace
}  // namespace switchyard
