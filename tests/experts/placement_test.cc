#include "experts/placement.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>

namespace switchyard {
namespace {

using testing::ElementsAre;

TEST(Placement, EnoughExpertsAreNotCut) {
  for (const uint32_t ranks : {1U, 3U, 8U}) {
    const Placement placement = place_by_order(plain_order(2, 8), ranks, 16);
    for (uint32_t rank = 0; rank < ranks; ++rank) {
      EXPECT_THAT(placement.group_of(rank), ElementsAre(rank));
      EXPECT_EQ(placement.slice_of(rank), RowSlice{});
    }
  }
}

TEST(Placement, RanksBeyondTheExpertsHelpTheOneBeforeThem) {
  const Placement five = place_by_order(plain_order(3, 4), 5, 16);
  EXPECT_THAT(five.leaders, ElementsAre(0, 1, 2, 3, 3));
  EXPECT_EQ(five.slice_of(2), RowSlice{});
  EXPECT_EQ(five.slice_of(3), (RowSlice{0, 2}));
  EXPECT_EQ(five.slice_of(4), (RowSlice{1, 2}));
  const Placement eleven = place_by_order(plain_order(3, 4), 11, 16);
  EXPECT_THAT(eleven.leaders, ElementsAre(0, 0, 2, 2, 2, 5, 5, 5, 8, 8, 8));
  EXPECT_THAT(eleven.group_of(7), ElementsAre(5, 6, 7));
}

TEST(Placement, OnlyLeadersAreHolders) {
  for (uint32_t ranks = 1; ranks <= 64; ++ranks) {
    for (const Placement& placement :
         {place_by_order(plain_order(3, 4), ranks, 64), place_at_random(3, 4, ranks, ranks, 64)}) {
      for (const auto& layer : placement.holders) {
        for (const RankSet holders : layer) {
          ASSERT_EQ(std::popcount(holders), 1);
          const auto rank = static_cast<uint32_t>(std::countr_zero(holders));
          ASSERT_EQ(placement.leader_of(rank), rank);
        }
      }
    }
  }
}

TEST(Placement, GroupsAreNoLargerThanAnExpertCanBeCut) {
  const Placement placement = place_by_order(plain_order(1, 2), 8, 3);
  EXPECT_THAT(placement.leaders, ElementsAre(0, 0, 0, 3, 4, 4, 4, 7));
  EXPECT_TRUE(place_by_order(plain_order(1, 2), 8).leaders.empty()) << "as it is by itself";
}

TEST(Placement, IsValidWhereHoldersComputeTheirOwn) {
  Placement placement = place_by_order(plain_order(2, 4), 6, 8);
  EXPECT_TRUE(placement.valid());
  placement.holders[1][0] |= RankSet{1} << placement.leader_of(5);
  EXPECT_TRUE(placement.valid());
  placement.holders[1][0] |= RankSet{1} << 5;
  EXPECT_FALSE(placement.valid()) << "it helps another";
  placement.holders[1][0] = 0;
  EXPECT_FALSE(placement.valid());
  placement.holders[1][0] = RankSet{1} << 6;
  EXPECT_FALSE(placement.valid());
}

}  // namespace
}  // namespace switchyard
