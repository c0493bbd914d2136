#include "experts/owner_tables.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <vector>

#include "experts/replicas.h"
#include "runtime/base/replica_choice.h"
#include "tests/experts/token_trace.h"

namespace switchyard {
namespace {

// The experts of group g on rank g mod ranks.
Placement by_groups(const TokenTraceShape& shape, uint32_t ranks) {
  Placement placement{.ranks = ranks, .holders = {}};
  placement.holders.resize(shape.layers);
  for (auto& layer : placement.holders) {
    for (uint32_t expert = 0; expert < shape.experts; ++expert) {
      layer.push_back(RankSet{1} << (expert % shape.groups % ranks));
    }
  }
  return placement;
}

// What guesses are worth on the tokens of one layer.
struct Guesses {
  double tokens = 0, right = 0, confidence = 0;
  double hit_rate() const { return right / tokens; }
};

enum class By { kToken, kPrevious, kBoth };

Guesses guess(const OwnerTables& tables, const RoutingTrace& trace, const Placement& placement,
              size_t at, By by) {
  Guesses guesses;
  for (const RoutingStep& step : trace.steps) {
    for (size_t token = 0; token < step.tokens.size(); ++token) {
      std::vector<RankSet> saving;  // this layer's and those before
      for (size_t back = 0; back <= std::min<size_t>(at, 2); ++back) {
        std::vector<RankSet> holders;
        for (const RoutedExpert& pick : step.at(trace.shape, at - back, token)) {
          holders.push_back(placement.holders[at - back][pick.expert]);
        }
        saving.push_back(saving_owners(holders));
      }
      const auto previous = std::span<const RankSet>(saving).subspan(1);
      const OwnerGuess made = by == By::kToken ? tables.by_token(at, step.tokens[token])
                              : by == By::kPrevious
                                  ? tables.by_previous(at, previous)
                                  : tables.owner(at, step.tokens[token], previous);
      EXPECT_LT(made.rank, placement.ranks);
      guesses.tokens += 1;
      guesses.right += static_cast<double>(saving[0] >> made.rank & 1);
      guesses.confidence += made.confidence;
    }
  }
  guesses.confidence /= guesses.tokens;
  return guesses;
}

TEST(OwnerTables, KnowWhatTokensNeed) {
  for (const uint32_t ranks : {2U, 3U, 4U, 5U}) {
    const TokenTraceShape shape{.groups = 4};
    const Placement placement = by_groups(shape, ranks);
    const OwnerTables tables = OwnerTables::learn(token_trace(shape, 12000, 1), placement);
    const RoutingTrace unseen = token_trace(shape, 2000, 2);
    for (size_t at = 0; at < shape.layers; ++at) {
      // Nine tenths come from the token, a tenth is any group.
      const Guesses guesses = guess(tables, unseen, placement, at, By::kToken);
      EXPECT_GT(guesses.hit_rate(), 0.88) << ranks << " ranks, layer " << at;
      EXPECT_NEAR(guesses.confidence, guesses.hit_rate(), 0.03);
    }
  }
}

TEST(OwnerTables, KnowWhatFollowsOnPreviousRanks) {
  const TokenTraceShape shape{.vocabulary = 4, .known_ids = false};
  const Placement placement = by_groups(shape, 4);
  const OwnerTables tables = OwnerTables::learn(token_trace(shape, 12000, 1), placement);
  const RoutingTrace unseen = token_trace(shape, 2000, 2);
  EXPECT_EQ(tables.by_previous(0, {}).confidence, 0);
  EXPECT_EQ(tables.by_token(1, 3).confidence, 0) << "no ids to learn from";
  for (size_t at = 1; at < shape.layers; ++at) {
    const Guesses guesses = guess(tables, unseen, placement, at, By::kPrevious);
    EXPECT_GT(guesses.hit_rate(), 0.8);
    EXPECT_NEAR(guesses.confidence, guesses.hit_rate(), 0.03);
    EXPECT_EQ(guess(tables, unseen, placement, at, By::kBoth).right, guesses.right);
  }
}

TEST(OwnerTables, BothTogetherAreAsGoodAsTheBetterOne) {
  // Three of ten tokens lie: then the layer before knows nothing either, but both rarely agree.
  const TokenTraceShape shape{.layers = 4, .strays = 0.3};
  const Placement placement = by_groups(shape, 4);
  const OwnerTables tables = OwnerTables::learn(token_trace(shape, 6000, 1), placement);
  const RoutingTrace unseen = token_trace(shape, 3000, 2);
  for (size_t at = 1; at < shape.layers; ++at) {
    const Guesses both = guess(tables, unseen, placement, at, By::kBoth);
    const Guesses token = guess(tables, unseen, placement, at, By::kToken);
    const Guesses previous = guess(tables, unseen, placement, at, By::kPrevious);
    EXPECT_GE(both.hit_rate() + 0.005, std::max(token.hit_rate(), previous.hit_rate()));
    EXPECT_GT(token.hit_rate(), previous.hit_rate());
    EXPECT_NEAR(both.confidence, both.hit_rate(), 0.03);
  }
}

TEST(OwnerTables, BelieveCountsNoFurtherThanTheyHold) {
  // Every token comes about three times, and what it needed says nothing of what it will need.
  const TokenTraceShape shape{.vocabulary = 1000, .strays = 1};
  const Placement placement = by_groups(shape, 4);
  const OwnerTables tables = OwnerTables::learn(token_trace(shape, 3000, 1), placement);
  const RoutingTrace unseen = token_trace(shape, 3000, 2);
  for (size_t at = 0; at < shape.layers; ++at) {
    EXPECT_NEAR(guess(tables, unseen, placement, at, By::kBoth).confidence, 0.25, 0.05);
  }
}

TEST(OwnerTables, GuessTheUsualRankForTokensNeverSeen) {
  TokenTraceShape shape{.groups = 1};
  const Placement placement = by_groups(shape, 1);
  // All experts of the layer lie on rank 2 of 3.
  Placement elsewhere{.ranks = 3, .holders = placement.holders};
  for (auto& layer : elsewhere.holders) layer.assign(layer.size(), RankSet{4});
  const OwnerTables tables = OwnerTables::learn(token_trace(shape, 200, 1), elsewhere);
  EXPECT_EQ(tables.by_token(1, 999).confidence, 0);
  EXPECT_EQ(tables.owner(1, 999, {}).rank, 2);
  EXPECT_GT(tables.owner(1, -1, {}).confidence, 0.99);
  EXPECT_EQ(tables.home({}), 0u);
  EXPECT_EQ(tables.home(std::vector<TokenId>{999, -1}), 2u);
}

TEST(OwnerTables, FindASequenceItsHome) {
  const TokenTraceShape shape{.layers = 1, .strays = 0.2};
  const Placement placement = by_groups(shape, 4);
  const OwnerTables tables = OwnerTables::learn(token_trace(shape, 4000, 1), placement);
  for (TokenId group = 0; group < 4; ++group) {
    const std::vector<TokenId> prompt = {group, group + 4, (group + 1) % 4, group + 8};
    EXPECT_EQ(tables.home(prompt), static_cast<uint32_t>(group));
  }
}

TEST(OwnerTables, AreTheSameForTheSameTrace) {
  const TokenTraceShape shape;
  const Placement placement = by_groups(shape, 4);
  const RoutingTrace trace = token_trace(shape, 500, 1);
  const OwnerTables a = OwnerTables::learn(trace, placement),
                    b = OwnerTables::learn(trace, placement);
  EXPECT_EQ(a.bytes(), b.bytes());
  for (TokenId token = -1; token < 60; ++token) {
    for (size_t at = 0; at < shape.layers; ++at) {
      for (const RankSet set : {RankSet{1}, RankSet{6}, RankSet{15}}) {
        const std::vector<RankSet> previous = {set, 3};
        EXPECT_EQ(a.owner(at, token, previous).rank, b.owner(at, token, previous).rank);
        EXPECT_EQ(a.owner(at, token, previous).confidence, b.owner(at, token, previous).confidence);
      }
    }
  }
}

TEST(OwnerTables, LearnNothingFromEmptyTraces) {
  const TokenTraceShape shape;
  const OwnerTables tables = OwnerTables::learn(token_trace(shape, 0, 1), by_groups(shape, 4));
  EXPECT_EQ(tables.layers(), shape.layers);
  EXPECT_EQ(tables.owner(2, 5, std::vector<RankSet>{1, 2}).rank, 0);
  EXPECT_EQ(tables.owner(2, 5, {}).confidence, 0);
  EXPECT_EQ(tables.home(std::vector<TokenId>{1, 2}), 0u);
  const OwnerTables none = OwnerTables::learn({}, Placement{.ranks = 4, .holders = {}});
  EXPECT_EQ(none.layers(), 0u);
}

TEST(OwnerTables, KeepTheCommonestWhenMemoryIsShort) {
  TokenTraceShape shape{.vocabulary = 3000, .strays = 0};
  RoutingTrace trace = token_trace(shape, 6000, 1);
  shape.vocabulary = 8;
  const RoutingTrace common = token_trace(shape, 200, 2);
  trace.steps.insert(trace.steps.end(), common.steps.begin(), common.steps.end());
  const Placement placement = by_groups(shape, 4);
  const uint64_t bytes_max = 8000;
  const OwnerTables tables = OwnerTables::learn(trace, placement, bytes_max);
  EXPECT_LE(tables.bytes(), bytes_max);
  size_t known = 0;
  for (TokenId token = 0; token < 3000; ++token) known += tables.by_token(0, token).confidence > 0;
  EXPECT_GT(known, 100u);
  EXPECT_LT(known, 1000u);
  for (TokenId token = 0; token < 8; ++token) EXPECT_GT(tables.by_token(0, token).confidence, 0);
  EXPECT_LE(OwnerTables::learn(trace, placement, 0).bytes(), 16u);
}

TEST(OwnerTables, TakeLittleMemoryAtTheSizeOfDeepSeekV2) {
  const TokenTraceShape shape{
      .layers = 26, .experts = 64, .top_k = 2, .groups = 8, .vocabulary = 102400, .strays = 0.2};
  RoutingTrace trace = token_trace(shape, 102400, 1);
  TokenId next = 0;  // every token once
  for (RoutingStep& step : trace.steps) {
    for (TokenId& token : step.tokens) token = next++;
  }
  const Placement placement = by_groups(shape, 8);
  const OwnerTables tables = OwnerTables::learn(trace, placement);
  EXPECT_LE(tables.bytes(), OwnerTables::kBytesMax);
  for (const TokenId token : {0, 51200, 102399}) {
    EXPECT_GT(tables.by_token(25, token).confidence, 0) << "a token was left out";
  }
  EXPECT_EQ(tables.by_token(25, 102400).confidence, 0);
}

}  // namespace
}  // namespace switchyard
