#include "experts/placement_advisor.h"

#include <gtest/gtest.h>

#include <bit>
#include <vector>

#include "experts/replicas.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

Placement plain(size_t layers, uint32_t experts, uint32_t ranks) {
  return place_by_order(plain_order(layers, experts), ranks);
}

// One layer of 8 experts on 4 ranks.
const ReplicaRules kRules = {.base = plain(1, 8, 4), .memory_share = 0.5};
const PickCounts kEven = {{10, 10, 10, 10, 10, 10, 10, 10}};
const PickCounts kFirstHot = {{90, 10, 10, 10, 10, 10, 10, 10}};
const PickCounts kLastHot = {{10, 10, 10, 10, 10, 10, 10, 90}};

TEST(BusiestWork, IsThatOfTheBusiestRankInEachLayer) {
  EXPECT_DOUBLE_EQ(busiest_work(kRules.base, kEven), 1);
  EXPECT_DOUBLE_EQ(busiest_work(kRules.base, kFirstHot), 100 / 40.0);
  EXPECT_DOUBLE_EQ(busiest_work(kRules.base, {std::vector<double>(8)}), 1) << "no picks";
  // Layers wait for their own busiest rank: what one has too little does not help another.
  const Placement two = plain(2, 8, 4);
  EXPECT_DOUBLE_EQ(busiest_work(two, {kFirstHot[0], kLastHot[0]}), 100 / 40.0);
}

TEST(BusiestWork, IsSharedByAllThatHoldAnExpert) {
  Placement shared = kRules.base;
  shared.holders[0][0] |= 0b0010;
  EXPECT_DOUBLE_EQ(busiest_work(shared, kFirstHot), 65 / 40.0);
}

TEST(EvenOut, AddsHoldersOfHotExpertsWithinTheRoom) {
  Prng prng(5);
  for (int round = 0; round < 50; ++round) {
    const auto ranks = static_cast<uint32_t>(2 + prng.below(7));
    const ReplicaRules rules{plain(3, 24, ranks), 0.1};
    PickCounts picks(3, std::vector<double>(24));
    for (auto& layer : picks) {
      for (double& count : layer) count = static_cast<double>(prng.below(40) * prng.below(40));
    }
    const Placement placed = even_out(rules, picks);
    const ReplicaRoom room = replica_room(rules.base, rules.memory_share);
    std::vector<uint64_t> added(ranks);
    uint64_t all = 0;
    for (size_t layer = 0; layer < 3; ++layer) {
      for (size_t expert = 0; expert < 24; ++expert) {
        const RankSet before = rules.base.holders[layer][expert];
        const RankSet after = placed.holders[layer][expert];
        ASSERT_EQ(before & ~after, 0u) << "a holder was lost";
        for (uint32_t rank = 0; rank < ranks; ++rank) added[rank] += (after & ~before) >> rank & 1;
        all += static_cast<uint64_t>(std::popcount(after) - 1);
      }
    }
    EXPECT_LE(all, room.all);
    for (const uint64_t here : added) EXPECT_LE(here, room.each);
    EXPECT_LT(busiest_work(placed, picks), busiest_work(rules.base, picks));
  }
}

TEST(EvenOut, AddsNoneWhereWorkIsEvenOrUnknown) {
  EXPECT_EQ(even_out(kRules, kEven).holders, kRules.base.holders);
  EXPECT_EQ(even_out(kRules, {std::vector<double>(8)}).holders, kRules.base.holders);
}

TEST(PlacementAdvisor, AdvisesWhatHelpsPicksThatItHasNotSeen) {
  PlacementAdvisor advisor(kRules, kRules.base);
  EXPECT_FALSE(advisor.advise(kFirstHot)) << "there is nothing to try it on";
  const auto advised = advisor.advise(kFirstHot);
  ASSERT_TRUE(advised);
  EXPECT_LE(busiest_work(*advised, kFirstHot), 0.9 * busiest_work(kRules.base, kFirstHot));
  EXPECT_FALSE(advisor.advise(kFirstHot)) << "it is the one that holds";
}

TEST(PlacementAdvisor, LeavesEvenWorkAndSmallGainsAlone) {
  PlacementAdvisor advisor(kRules, kRules.base);
  const PickCounts nearly = {{11, 10, 10, 10, 10, 10, 10, 10}};
  for (int call = 0; call < 5; ++call) EXPECT_FALSE(advisor.advise(nearly)) << call;
}

// Texts that take turns, each with a hot expert of its own: no placement is taken back.
TEST(PlacementAdvisor, DoesNotFollowEveryTurn) {
  PlacementAdvisor advisor({kRules.base, 0.125}, kRules.base);  // room for one
  int changes = 0;
  for (int call = 0; call < 40; ++call) {
    changes += advisor.advise(call % 2 == 0 ? kFirstHot : kLastHot) ? 1 : 0;
  }
  EXPECT_LE(changes, 1);
}

TEST(PlacementAdvisor, FollowsALastingChange) {
  PlacementAdvisor advisor({kRules.base, 0.125}, kRules.base);
  for (int call = 0; call < 4; ++call) (void)advisor.advise(kFirstHot);
  int changes = 0;
  std::optional<Placement> last;
  for (int call = 0; call < 6; ++call) {
    if (auto advised = advisor.advise(kLastHot)) {
      changes += 1;
      last = std::move(advised);
    }
  }
  EXPECT_EQ(changes, 1);
  ASSERT_TRUE(last);
  EXPECT_GT(std::popcount(last->holders[0][7]), 1);
}

}  // namespace
}  // namespace switchyard
