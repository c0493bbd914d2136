#include "runtime/engine/routing_replay.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

ModelSpec model_of(uint32_t layers, uint32_t experts) {
  ModelSpec spec;
  spec.layers.resize(layers);
  for (LayerSpec& layer : spec.layers) layer.sparse = true;
  spec.moe.experts = experts;
  return spec;
}

// Token t of the prompt goes to expert t, the t-th decoded one to 100 + t, at every layer; asked a
// layer before, the router says t + 1.
RoutingTrace counting_trace(uint16_t prompt, uint16_t decoded) {
  RoutingTrace trace;
  trace.shape = {{0, 1}, 200, 1, 0};
  RoutingStep first;
  for (uint16_t token = 0; token < prompt; ++token) first.tokens.push_back(token);
  for (int layer = 0; layer < 2; ++layer) {
    for (uint16_t token = 0; token < prompt; ++token) first.routed.push_back({token, 1});
  }
  trace.steps.push_back(first);
  for (uint16_t token = 0; token < decoded; ++token) {
    const auto expert = static_cast<uint16_t>(100 + token), next = static_cast<uint16_t>(token + 1);
    RoutingStep step;
    step.phase = TracePhase::kDecode;
    step.tokens = {token};
    step.routed = {{expert, 1}, {expert, -1}};
    step.predictions = {{"next-layer", 1, {{0, -1}, {next, 1}}}};
    trace.steps.push_back(step);
  }
  return trace;
}

StepRow row(uint32_t sequence, bool prompt) {
  return {.sequence = static_cast<SequenceId>(sequence), .prompt = prompt};
}

std::vector<int> routed(RoutingReplay& replay, const std::vector<StepRow>& rows) {
  replay.begin_step(rows);
  std::vector<RoutedExpert> to(rows.size());
  replay.route(1, to);
  std::vector<int> experts;
  for (const RoutedExpert& expert : to) experts.push_back(expert.expert);
  return experts;
}

TEST(RoutingReplay, PromptsAndDecodingTakeTheirOwnTokensInTurn) {
  auto replay = RoutingReplay::create(counting_trace(3, 4), model_of(2, 200), 1).value();
  EXPECT_EQ(routed(replay, {row(0, true), row(0, true)}), (std::vector<int>{0, 1}));
  EXPECT_EQ(routed(replay, {row(0, false)}), (std::vector<int>{100}));
  EXPECT_EQ(routed(replay, {row(0, true), row(0, true)}), (std::vector<int>{2, 0}));
  for (const int expert : {101, 102, 103, 100}) {
    EXPECT_EQ(routed(replay, {row(0, false)}), (std::vector<int>{expert}));
  }
}

TEST(RoutingReplay, SequencesBeginAtPlacesOfTheirOwn) {
  auto replay = RoutingReplay::create(counting_trace(3, 4), model_of(2, 200), 2).value();
  EXPECT_EQ(routed(replay, {row(0, false), row(1, false)}), (std::vector<int>{100, 102}));
  EXPECT_EQ(routed(replay, {row(1, false)}), (std::vector<int>{103}));
  EXPECT_EQ(routed(replay, {row(0, false), row(1, false)}), (std::vector<int>{101, 100}));
}

TEST(RoutingReplay, GivesWhatRoutersAnsweredWhereTheyWereAsked) {
  auto replay = RoutingReplay::create(counting_trace(3, 4), model_of(2, 200), 2).value();
  EXPECT_TRUE(replay.has_answers(RouterQuery::kNextLayer));
  EXPECT_FALSE(replay.has_answers(RouterQuery::kNextTwo));
  routed(replay, {row(0, false), row(1, false)});
  const auto said = replay.answers(RouterQuery::kNextLayer, 1);
  ASSERT_EQ(said.answers.size(), 2u);
  EXPECT_EQ(said.width, 1u);
  EXPECT_EQ(said.answers[0].expert, 1);
  EXPECT_EQ(said.answers[1].expert, 3);
  EXPECT_TRUE(replay.answers(RouterQuery::kNextLayer, 0).answers.empty());
  routed(replay, {row(0, false), row(0, true)});
  EXPECT_TRUE(replay.answers(RouterQuery::kNextLayer, 1).answers.empty()) << "not of every row";
}

TEST(RoutingReplay, WeightsThatWereNotRecordedAreEven) {
  auto replay = RoutingReplay::create(counting_trace(0, 1), model_of(3, 7), 1).value();
  const std::vector<StepRow> rows = {row(0, true)};  // the trace has no prompt
  replay.begin_step(rows);
  RoutedExpert expert;
  replay.route(1, {&expert, 1});
  EXPECT_EQ(expert.expert, 100 % 7);
  EXPECT_EQ(expert.gate_weight, 1.0F);
}

}  // namespace
}  // namespace switchyard
