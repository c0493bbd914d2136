#include "experts/dispatch_ladder.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "experts/grouping.h"
#include "tests/experts/token_trace.h"
#include "tests/experts/trace_testing.h"

namespace switchyard {
namespace {

std::vector<std::string> names(const std::vector<LadderRung>& rungs) {
  std::vector<std::string> list;
  for (const LadderRung& rung : rungs) list.push_back(rung.name);
  return list;
}

std::vector<LadderRung> ladder(const RoutingTrace& learned, const RoutingTrace& measured,
                               uint32_t ranks, double share) {
  const ExpertOrder order = group_order(routes_of(learned), ranks, 1);
  return measure_ladder(measured, learn_world(learned, order, ranks, share));
}

TEST(DispatchLadder, EveryStepSavesWhatItIsMeantToSave) {
  const TokenTraceShape shape{.experts = 32, .top_k = 4, .groups = 4};
  const RoutingTrace learned = token_trace(shape, 3000, 1), unseen = token_trace(shape, 2000, 2);
  const std::vector<LadderRung> rungs = ladder(learned, unseen, 4, 0.1);
  ASSERT_THAT(names(rungs),
              testing::ElementsAre("all-gather", "all-to-all", "de-duplicated", "grouped",
                                   "token table", "previous ranks", "replicas", "one home"));
  EXPECT_EQ(rungs[0].copies, 3);
  EXPECT_NEAR(rungs[1].copies, 3, 1e-9) << "four picks, three quarters elsewhere";
  // A token needs the experts of one group: one rank in every four.
  EXPECT_NEAR(rungs[3].copies, 0.75, 1e-9);
  EXPECT_NEAR(rungs[3].best_owner, 0, 1e-9);
  EXPECT_LT(rungs[4].copies, 0.12);
  EXPECT_LT(rungs[5].copies, 0.12);
  EXPECT_LE(rungs[2].copies, rungs[1].copies + 1e-9);
  EXPECT_LT(rungs[3].copies, rungs[2].copies);
  for (const LadderRung& rung : rungs) {
    EXPECT_GE(rung.copies, rung.best_owner - 1e-9) << rung.name;
    EXPECT_LE(rung.best_owner, rung.random_owner) << rung.name;
    EXPECT_GE(rung.busiest_of_layer, 1) << rung.name;
    EXPECT_GE(rung.busiest_of_all, 1) << rung.name;
    EXPECT_LE(rung.busiest_of_all, rung.busiest_of_layer + 1e-9) << rung.name;
  }
}

TEST(DispatchLadder, HasNoStepsByTokensWithoutThem) {
  const TokenTraceShape shape{.vocabulary = 4, .known_ids = false};
  const RoutingTrace trace = token_trace(shape, 1000, 1);
  const std::vector<LadderRung> rungs = ladder(trace, trace, 4, 0);
  ASSERT_THAT(names(rungs), testing::ElementsAre("all-gather", "all-to-all", "de-duplicated",
                                                 "grouped", "previous ranks", "replicas"));
  EXPECT_LT(rungs[4].copies, rungs[3].copies - 0.2);
  EXPECT_NEAR(rungs[5].copies, rungs[4].copies, 1e-9) << "no memory, no replicas";
}

TEST(DispatchLadder, TakesEveryWorldAndTracesWithHoles) {
  Prng prng(3);
  const TraceShape shape{{0, 2, 3}, 15, 3, 0};
  const RoutingTrace trace{shape, "", random_steps(shape, 30, 5, prng)};
  const RoutingTrace empty{shape, "", {}};
  for (const uint32_t ranks : {1U, 2U, 3U, 5U, 8U, 64U}) {
    const std::vector<LadderRung> rungs = ladder(trace, trace, ranks, 0.2);
    EXPECT_EQ(rungs.size(), 8u);
    for (const LadderRung& rung : rungs) {
      EXPECT_GE(rung.copies, 0);
      const double most = rung.name == "all-to-all" ? shape.top_k : ranks - 1;
      EXPECT_LE(rung.copies, most + 1e-9) << rung.name << " of " << ranks;
      EXPECT_LE(rung.best_owner, rung.copies + 1e-9) << rung.name << " of " << ranks;
    }
    EXPECT_EQ(ladder(empty, trace, ranks, 0.2).size(), 8u);
    for (const LadderRung& rung : ladder(trace, empty, ranks, 0.2)) {
      EXPECT_EQ(rung.busiest_of_all, 1);
    }
  }
}

TEST(SplitTrace, KeepsEveryTokenOnce) {
  Prng prng(4);
  const TraceShape shape{{0, 1}, 8, 2, 0};
  const RoutingTrace trace{shape, "m", random_steps(shape, 20, 7, prng)};
  const auto tokens = [](const RoutingTrace& of) {
    std::vector<TokenId> all;
    for (const auto& step : of.steps) all.insert(all.end(), step.tokens.begin(), step.tokens.end());
    return all;
  };
  const auto picks = [](const RoutingTrace& of, size_t at) { return routes_of(of, at).picks; };
  for (const double share : {0.0, 0.3, 0.75, 1.0}) {
    const SplitTrace split = split_trace(trace, share);
    auto joined = tokens(split.first);
    EXPECT_EQ(joined.size(),
              static_cast<size_t>(share * static_cast<double>(tokens(trace).size())));
    const auto rest = tokens(split.rest);
    joined.insert(joined.end(), rest.begin(), rest.end());
    EXPECT_EQ(joined, tokens(trace));
    for (size_t at = 0; at < 2; ++at) {
      auto both = picks(split.first, at);
      const auto second = picks(split.rest, at);
      both.insert(both.end(), second.begin(), second.end());
      EXPECT_EQ(both, picks(trace, at));
    }
  }
}

}  // namespace
}  // namespace switchyard
