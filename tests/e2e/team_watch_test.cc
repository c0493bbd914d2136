// What ranks guess and record together: where heads are split every rank watches as one process
// does.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "experts/expert_source.h"
#include "tests/e2e/models.h"
#include "tests/e2e/team.h"

namespace switchyard {
namespace {

struct Setting {
  uint32_t ranks = 1;
  Layout layout = Layout::kA;
  double share = 0.25;  // of a rank's experts that fit
  OwnerKind owners = OwnerKind::kNone;
  std::string predictor = std::string(kPredictorDefault);
};

EngineOptions options_of(const ModelSource& source, const Setting& setting) {
  EngineOptions options;
  options.memory_bytes = uint64_t{1} << 30;
  const ExpertSource& experts = source.experts();
  const auto all = static_cast<double>(experts.keys().size() * experts.slot_bytes());
  if (setting.share < 1) {
    options.expert_bytes_max = std::max(source.spec().moe.top_k * experts.slot_bytes(),
                                        static_cast<uint64_t>(setting.share * all / setting.ranks));
  }
  options.context = 128;
  options.sequences = 2;
  options.predictor = setting.predictor;
  options.team.layout = setting.layout;
  options.team.owners = {.kind = setting.owners, .seed = 5};
  options.team.placement = place_by_order(source.expert_order(), setting.ranks);
  return options;
}

struct Outcome {
  std::vector<RoutingStep> steps;  // recorded
  std::vector<LayerRecall> recall;
  std::vector<RankReport> reports;
};

// A long prompt and a short one in the same step, then greedy tokens of the first.
Outcome generate(const ModelSource& source, const TestModel& model, const Setting& setting,
                 uint32_t tokens, bool records) {
  Outcome outcome;
  TestTeam team(source, setting.ranks, [&](uint32_t rank) {
    EngineOptions options = options_of(source, setting);
    if (records && rank == 0) {
      options.on_routing = [&](const RoutingStep& step) { outcome.steps.push_back(step); };
    }
    return options;
  });
  Engine& engine = team.engine();
  const SequenceId first = engine.open_sequence().value(), second = engine.open_sequence().value();
  std::vector<TokenId> prompt = read_expected(model).input_ids;
  prompt.resize(12, 1);
  StepPlan plan;
  plan.parts.push_back({first, prompt, LogitsWanted::kLast});
  plan.parts.push_back({second, {prompt[3], prompt[1]}, LogitsWanted::kNone});
  for (uint32_t step = 0; step < tokens; ++step) {
    TokenId next = 0;
    const auto sink = [&](SequenceId, uint32_t, std::span<const float> row) { next = argmax(row); };
    const Status done = engine.step(plan, sink);
    EXPECT_TRUE(done) << to_line(done.error());
    plan.parts.assign(1, {first, {next}, LogitsWanted::kLast, false});
    if (step == 1) plan.parts.front().tokens.assign(20, next);  // too many to be asked about
  }
  for (size_t i = 0; engine.foresight() != nullptr && i < kHorizons; ++i) {
    const auto& of_horizon = engine.foresight()->recall(static_cast<Horizon>(i));
    outcome.recall.insert(outcome.recall.end(), of_horizon.begin(), of_horizon.end());
  }
  outcome.reports = engine.rank_reports().value();
  return outcome;
}

std::string text_of(std::span<const RoutedExpert> routed) {
  std::string text;
  for (const auto& [expert, gate] : routed) text += fmt::format("{}:{} ", expert, gate);
  return text;
}

std::string text_of(const RoutingStep& step) {
  std::string text =
      fmt::format("request {} phase {} ", step.request, static_cast<int>(step.phase));
  for (const TokenId token : step.tokens) text += fmt::format("{} ", token);
  text += text_of(step.routed);
  for (const TracePrediction& prediction : step.predictions) {
    text += fmt::format("{} {} {}", prediction.kind, prediction.width, text_of(prediction.answers));
  }
  return text;
}

class SplitHeads : public testing::TestWithParam<const char*> {};

TEST_P(SplitHeads, RecordWhatOneProcessDoes) {
  const TestModel& model = test_model(GetParam());
  const ModelSource& source = open_model(model, "folder");
  const Outcome alone = generate(source, model, {}, 5, true);
  ASSERT_GE(alone.steps.size(), 6u);
  ASSERT_FALSE(alone.steps.front().predictions.empty());
  const std::vector<Setting> settings = {
      {.ranks = 2, .layout = Layout::kB},
      {.ranks = 3, .layout = Layout::kB, .owners = OwnerKind::kRandom},
      {.ranks = 2, .layout = Layout::kB, .share = 1}};
  for (const Setting& setting : settings) {
    const Outcome team = generate(source, model, setting, 5, true);
    ASSERT_EQ(team.steps.size(), alone.steps.size());
    for (size_t i = 0; i < team.steps.size(); ++i) {
      EXPECT_EQ(text_of(team.steps[i]), text_of(alone.steps[i])) << "step " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Models, SplitHeads, testing::Values("demo", "qwen2_moe"));

TEST(TeamWatch, SplitHeadsGuessAsWellAsOneProcessAndReadAheadOnEveryRank) {
  const TestModel& model = test_model("demo");
  const ModelSource& source = open_model(model, "folder");
  const Outcome alone = generate(source, model, {}, 60, false);
  const Outcome team = generate(
      source, model, {.ranks = 2, .layout = Layout::kB, .owners = OwnerKind::kRandom}, 60, false);
  ASSERT_EQ(team.recall.size(), alone.recall.size());
  for (size_t i = 0; i < team.recall.size(); ++i) {
    EXPECT_EQ(team.recall[i].slots, alone.recall[i].slots);
    EXPECT_EQ(team.recall[i].slots_hit, alone.recall[i].slots_hit);
  }
  for (const RankReport& rank : team.reports) {
    EXPECT_GT(rank.expert_hits, 0u);
    EXPECT_GT(rank.prefetch.useful_bytes, 0u);
  }
}

}  // namespace
}  // namespace switchyard
