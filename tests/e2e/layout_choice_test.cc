// Layout auto: all ranks take what rank 0 expects to be quicker, and the logits stay.

#include <gtest/gtest.h>

#include <string>

#include "experts/expert_source.h"
#include "runtime/base/hash.h"
#include "tests/e2e/models.h"
#include "tests/e2e/team.h"

namespace switchyard {
namespace {

// So slow that reading less is worth any round of messages, and so fast that nothing is.
constexpr double kSlowMemory = 1, kFastMemory = 1e18;

EngineOptions options_of(const ModelSource& source, uint32_t ranks, double memory_rate) {
  EngineOptions options;
  options.memory_bytes = uint64_t{1} << 30;
  options.memory_bytes_per_second = memory_rate;
  options.context = 16;
  options.team.placement = place_by_order(source.expert_order(), ranks);
  return options;
}

std::string logits_hash(Engine& engine) {
  Hasher hasher;
  const SequenceId sequence = engine.open_sequence().value();
  std::vector<TokenId> next = {5, 6, 7, 9};
  for (int step = 0; step < 3; ++step) {
    const StepPlan plan{{{sequence, next, LogitsWanted::kAll}}};
    const Status done = engine.step(plan, [&](SequenceId, uint32_t, std::span<const float> row) {
      hasher.update(std::as_bytes(row));
      next = {argmax(row)};
    });
    EXPECT_TRUE(done);
  }
  engine.close_sequence(sequence);
  return hash_hex(hasher.digest());
}

class LayoutChoice : public testing::TestWithParam<uint32_t> {
 protected:
  const ModelSource& source_ = open_model(test_model("olmoe"), "folder");

  Layout layout_of(const TestTeam::OptionsOf& options) {
    TestTeam team(source_, GetParam(), options);
    const auto alone = Engine::create(source_, options_of(source_, 1, 0), {}).value();
    EXPECT_EQ(logits_hash(team.engine()), logits_hash(*alone));
    return team.engine().layout();
  }
};

TEST_P(LayoutChoice, SplitsHeadsWhereReadingIsSlowerThanRounds) {
  EXPECT_EQ(layout_of([&](uint32_t) { return options_of(source_, GetParam(), kSlowMemory); }),
            Layout::kB);
  EXPECT_EQ(layout_of([&](uint32_t) { return options_of(source_, GetParam(), kFastMemory); }),
            Layout::kAuto);
}

TEST_P(LayoutChoice, IsRankZerosWhateverTheOthersKnow) {
  const auto rate = [](bool slow) { return slow ? kSlowMemory : kFastMemory; };
  for (const bool slow : {false, true}) {
    EXPECT_EQ(layout_of([&](uint32_t rank) {
                return options_of(source_, GetParam(), rate((rank == 0) == slow));
              }),
              slow ? Layout::kB : Layout::kAuto);
  }
}

TEST_P(LayoutChoice, KeepsHeadsTogetherWhereRoutesAreReplayed) {
  RoutingTrace trace;
  trace.shape = {source_.spec().router_layers(), source_.spec().moe.experts,
                 source_.spec().moe.top_k, 1};
  RoutingStep step;
  step.tokens = {-1};
  for (size_t layer = 0; layer < trace.shape.layers.size(); ++layer) {
    for (uint16_t pick = 0; pick < trace.shape.top_k; ++pick) step.routed.push_back({pick, 0.5F});
  }
  trace.steps = {step, step};
  trace.steps.back().phase = TracePhase::kDecode;
  TestTeam team(source_, GetParam(), [&](uint32_t) {
    EngineOptions options = options_of(source_, GetParam(), kSlowMemory);
    options.replay = std::make_shared<RoutingReplay>(
        RoutingReplay::create(trace, source_.spec(), options.sequences).value());
    return options;
  });
  EXPECT_EQ(team.engine().layout(), Layout::kAuto);
}

// On the last rank they do not.
TEST_P(LayoutChoice, KeepsHeadsTogetherWhereExpertsDoNotFit) {
  EXPECT_EQ(layout_of([&](uint32_t rank) {
              EngineOptions options = options_of(source_, GetParam(), kSlowMemory);
              if (rank + 1 == GetParam()) {
                options.expert_bytes_max =
                    source_.spec().moe.top_k * source_.experts().slot_bytes();
              }
              return options;
            }),
            Layout::kAuto);
}

INSTANTIATE_TEST_SUITE_P(Ranks, LayoutChoice, testing::Values(2U, 3U));

}  // namespace
}  // namespace switchyard
