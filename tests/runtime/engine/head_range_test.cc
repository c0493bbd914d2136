#include "runtime/engine/head_range.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(HeadRange, RanksTakeAllHeadsOnce) {
  for (uint32_t heads = 1; heads < 20; ++heads) {
    for (uint32_t ranks = 1; ranks < 24; ++ranks) {
      uint32_t next = 0;
      for (uint32_t rank = 0; rank < ranks; ++rank) {
        const HeadRange range = heads_of(rank, ranks, heads);
        EXPECT_EQ(range.first, next);
        next = range.end();
      }
      EXPECT_EQ(next, heads);
    }
  }
}

TEST(HeadRange, AlignedRanksHaveOneNode) {
  for (uint32_t rank = 0; rank < 4; ++rank) {
    EXPECT_EQ(head_nodes(heads_of(rank, 4, 8), 8).size(), 1u);
  }
}

TEST(HeadRange, NodesMakeUpTheStretch) {
  const auto nodes = head_nodes({1, 6}, 8);
  ASSERT_EQ(nodes.size(), 4u);
  EXPECT_EQ(nodes[0].first, 1u);
  EXPECT_EQ(nodes[0].count, 1u);
  EXPECT_EQ(nodes[1].first, 2u);
  EXPECT_EQ(nodes[1].count, 2u);
  EXPECT_EQ(nodes[2].first, 4u);
  EXPECT_EQ(nodes[2].count, 2u);
  EXPECT_EQ(nodes[3].first, 6u);
  EXPECT_EQ(nodes[3].count, 1u);
  EXPECT_TRUE(head_nodes({3, 0}, 8).empty());
}

}  // namespace
}  // namespace switchyard
