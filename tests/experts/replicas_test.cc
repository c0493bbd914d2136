#include "experts/replicas.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <set>
#include <vector>

#include "runtime/base/prng.h"
#include "runtime/base/replica_choice.h"

namespace switchyard {
namespace {

// Tokens that choose the hot expert 0 and two of one rank's stretch.
LayerRoutes hot_routes(uint32_t experts, uint32_t ranks, size_t tokens, uint64_t seed) {
  Prng prng(seed);
  LayerRoutes routes{.experts = experts};
  const uint32_t each = experts / ranks;
  for (size_t token = 0; token < tokens; ++token) {
    const auto rank = static_cast<uint32_t>(prng.below(ranks));
    std::set<uint16_t> picks = {0};
    while (picks.size() < 3) picks.insert(static_cast<uint16_t>(rank * each + prng.below(each)));
    routes.picks.insert(routes.picks.end(), picks.begin(), picks.end());
    routes.end_token();
  }
  return routes;
}

Placement plain(size_t layers, uint32_t experts, uint32_t ranks) {
  return place_by_order(plain_order(layers, experts), ranks);
}

double copies_with_good_owners(const std::vector<LayerRoutes>& layers, const Placement& placement) {
  double copies = 0;
  std::vector<RankSet> holders;
  for (size_t at = 0; at < layers.size(); ++at) {
    for (size_t token = 0; token < layers[at].tokens(); ++token) {
      holders_of(layers[at].of(token), placement.holders[at], holders);
      const auto owner = static_cast<uint32_t>(std::countr_zero(saving_owners(holders)));
      copies += copies_needed(holders, owner);
    }
  }
  return copies;
}

struct Added {
  size_t all = 0;
  std::vector<size_t> on;  // [ranks]
};

Added added(const Placement& base, const Placement& replicated) {
  Added count{0, std::vector<size_t>(base.ranks)};
  for (size_t at = 0; at < base.holders.size(); ++at) {
    for (size_t expert = 0; expert < base.holders[at].size(); ++expert) {
      const RankSet before = base.holders[at][expert], after = replicated.holders[at][expert];
      EXPECT_EQ(before & ~after, 0u) << "a holder was lost";
      EXPECT_EQ(after >> 1 >> (base.ranks - 1), 0u) << "a rank that is not there";
      for (RankSet left = after & ~before; left != 0; left &= left - 1) {
        count.on[static_cast<size_t>(std::countr_zero(left))] += 1;
        count.all += 1;
      }
    }
  }
  return count;
}

TEST(Replicate, PutsAHotExpertWhereItIsNeeded) {
  const std::vector<LayerRoutes> layers = {hot_routes(32, 4, 800, 1)};
  const Placement base = plain(1, 32, 4), replicated = replicate(layers, base, 3.0 / 32);
  EXPECT_EQ(replicated.holders[0][0], 0b1111u);
  EXPECT_EQ(added(base, replicated).all, 3u);
  EXPECT_GT(copies_with_good_owners(layers, base), 500);
  EXPECT_EQ(copies_with_good_owners(layers, replicated), 0);
}

TEST(Replicate, StaysWithinTheMemoryAndEachRanksShare) {
  for (const uint32_t ranks : {2U, 3U, 5U, 8U, 64U}) {
    std::vector<LayerRoutes> layers;
    for (uint64_t layer = 0; layer < 4; ++layer) layers.push_back(hot_routes(30, 3, 300, layer));
    const Placement base = plain(4, 30, ranks);
    double copies = copies_with_good_owners(layers, base);
    for (const double share : {0.05, 0.1, 0.3}) {
      const Placement replicated = replicate(layers, base, share);
      const Added count = added(base, replicated);
      const auto most = static_cast<size_t>(share * 120 + 1e-9);
      EXPECT_LE(count.all, most) << ranks << " ranks";
      EXPECT_GT(count.all, 0u);
      EXPECT_LE(std::ranges::max(count.on), (most + ranks - 1) / ranks);
      EXPECT_LE(copies_with_good_owners(layers, replicated), copies);
      copies = copies_with_good_owners(layers, replicated);
      EXPECT_EQ(replicate(layers, base, share).holders, replicated.holders) << "not the same again";
    }
  }
}

TEST(Replicate, OfEqualSavingsTakesTheOneThatEvensOutTheWork) {
  // Either of two experts that are chosen together can go to the other's rank; rank 0,
  // which has 0 and 1, has the more to do.
  LayerRoutes routes{.experts = 4};
  for (int token = 0; token < 300; ++token) {
    if (token % 3 == 0) routes.picks.insert(routes.picks.end(), {0, 2});
    if (token % 3 == 1) routes.picks.insert(routes.picks.end(), {1, 3});
    if (token % 3 == 2) routes.picks.push_back(static_cast<uint16_t>(token % 2));
    routes.end_token();
  }
  const Added count = added(plain(1, 4, 2), replicate({routes}, plain(1, 4, 2), 1.0 / 4));
  EXPECT_EQ(count.on, (std::vector<size_t>{0, 1}));
}

TEST(Replicate, PutsNothingOnRanksThatHelpOthers) {
  const std::vector<LayerRoutes> layers = {hot_routes(6, 2, 300, 1), hot_routes(6, 2, 300, 2)};
  const Placement base = place_by_order(plain_order(2, 6), 16, 8);
  const Placement replicated = replicate(layers, base, 1);
  EXPECT_GT(added(base, replicated).all, 0u);
  EXPECT_EQ(replicated.leaders, base.leaders);
  for (const auto& layer : replicated.holders) {
    for (const RankSet holders : layer) {
      for (uint32_t rank = 0; rank < 16; ++rank) {
        if ((holders >> rank & 1) != 0) {
          EXPECT_EQ(base.leader_of(rank), rank);
        }
      }
    }
  }
}

TEST(Replicate, AddsNothingWhereNothingIsGained) {
  const std::vector<LayerRoutes> layers = {hot_routes(32, 4, 100, 1)};
  const Placement base = plain(1, 32, 4), alone = plain(1, 32, 1);
  EXPECT_EQ(replicate(layers, base, 0).holders, base.holders);
  EXPECT_EQ(replicate(layers, alone, 1).holders, alone.holders);
  EXPECT_EQ(replicate({LayerRoutes{.experts = 32}}, base, 1).holders, base.holders);
  EXPECT_TRUE(replicate({}, Placement{.ranks = 4, .holders = {}}, 1).holders.empty());
}

}  // namespace
}  // namespace switchyard
