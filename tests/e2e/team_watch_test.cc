// What ranks guess and record together: a rank reads ahead what rows on other ranks will ask it
// for, and where heads are split every rank watches as one process does.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <string>
#include <vector>

#include "comm/hint_exchange.h"
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

class WholeRows : public testing::TestWithParam<Layout> {};

// Both sequences live on rank 0: rank 1 has no rows of its own.
TEST_P(WholeRows, AreReadAheadForOnTheRankThatHoldsTheirExperts) {
  const TestModel& model = test_model("demo");
  const ModelSource& source = open_model(model, "folder");
  const auto prefetch_of = [&](const std::string& predictor) {
    TestTeam team(source, 2, [&](uint32_t) {
      return options_of(source, {.ranks = 2, .layout = GetParam(), .predictor = predictor});
    });
    const SequenceId sequence = team.engine().open_sequence().value();
    TokenId next = 5;
    for (int step = 0; step < 60; ++step) {
      const auto sink = [&](SequenceId, uint32_t, std::span<const float> row) {
        next = argmax(row);
      };
      EXPECT_TRUE(team.engine().step({{{sequence, {next}, LogitsWanted::kLast}}}, sink));
    }
    const RankReport report = team.engine().rank_reports().value()[1];
    for (const LayerTraffic& layer : report.traffic) EXPECT_EQ(layer.tokens, 0u);
    return report.prefetch;
  };
  EXPECT_GT(prefetch_of(std::string(kPredictorDefault)).useful_bytes, 0u);
  EXPECT_EQ(prefetch_of("none").started, 0u);
}

INSTANTIATE_TEST_SUITE_P(Layouts, WholeRows, testing::Values(Layout::kA, Layout::kC),
                         [](const auto& info) { return std::string(layout_name(info.param)); });

// One message from each rank to each other one in every layer but the last, counted as traffic; and
// none where nothing is read.
TEST(TeamWatch, HintsAreCountedAndNoneAreSentWhereAllIsInMemory) {
  const TestModel& model = test_model("demo");
  const ModelSource& source = open_model(model, "folder");
  const auto bytes_of = [&](double share, const std::string& predictor) {
    uint64_t bytes = 0;
    const Outcome outcome =
        generate(source, model, {.ranks = 3, .share = share, .predictor = predictor}, 8, false);
    for (const RankReport& rank : outcome.reports) {
      for (const LayerTraffic& layer : rank.traffic) {
        for (const uint64_t to : layer.bytes_to) bytes += to;
      }
    }
    return bytes;
  };
  const uint64_t in_memory = bytes_of(1, std::string(kPredictorDefault));
  EXPECT_EQ(bytes_of(0.25, "none"), in_memory);
  const uint64_t messages = uint64_t{3} * 2 * 8 * (source.spec().sparse_layers() - 1);
  const uint64_t message_bytes = 16 + 4 * HintExchange::kHintsMax + 8;
  EXPECT_EQ(bytes_of(0.25, std::string(kPredictorDefault)) - in_memory, messages * message_bytes);
}

// Two ranks have all experts, of which one has room for a few and the other for all. To each of
// them a row is one copy.
class Replicas : public testing::TestWithParam<Layout> {};

TEST_P(Replicas, AreAskedWhereTheyAreInMemory) {
  const TestModel& model = test_model("demo");
  const ModelSource& source = open_model(model, "folder");
  TestTeam team(source, 3, [&](uint32_t rank) {
    EngineOptions options =
        options_of(source, {.ranks = 3, .layout = GetParam(), .predictor = "none"});
    for (auto& layer : options.team.placement.holders) std::ranges::fill(layer, 0b110);
    options.expert_bytes_max = rank == 2 ? UINT64_MAX : options.expert_bytes_max;
    return options;
  });
  const SequenceId sequence = team.engine().open_sequence().value();
  constexpr int kSteps = 20;
  for (int step = 0; step < kSteps; ++step) {
    const StepPart part = {sequence, {step * 7 + 3}, LogitsWanted::kLast};
    EXPECT_TRUE(team.engine().step({{part}}, [](SequenceId, uint32_t, std::span<const float>) {}));
  }
  const std::vector<RankReport> reports = team.engine().rank_reports().value();
  const uint64_t uses = uint64_t{kSteps} * source.spec().sparse_layers() * source.spec().moe.top_k;
  EXPECT_EQ(reports[2].expert_misses, 0u);
  // But for rank 1's few and for the first step's first layer, where nobody knows anything yet.
  EXPECT_GT(reports[2].expert_hits, uses * 3 / 4);
  EXPECT_LT(reports[1].expert_misses, 2 * source.spec().moe.top_k);
}

INSTANTIATE_TEST_SUITE_P(Layouts, Replicas, testing::Values(Layout::kA, Layout::kC),
                         [](const auto& info) { return std::string(layout_name(info.param)); });

}  // namespace
}  // namespace switchyard
