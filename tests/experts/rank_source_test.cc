#include "experts/rank_source.h"

#include <gtest/gtest.h>

#include "tests/experts/test_model.h"

namespace switchyard {
namespace {

TEST(RankSource, RanksHoldAllExpertsBetweenThem) {
  TestModel model({});
  const auto all = model.pack_source();
  const std::vector<uint16_t> layers = {0, 1, 2};
  const Placement placement = place_by_order(plain_order(3, 8), 3);
  size_t held = 0;
  for (uint32_t rank = 0; rank < 3; ++rank) {
    const auto part = make_rank_source(*all, placement, layers, rank);
    for (const ExpertKey key : part->keys()) {
      EXPECT_TRUE(placement.holders[key.layer][key.expert] >> rank & 1);
      EXPECT_EQ(part->pieces(key).front().offset, all->pieces(key).front().offset);
    }
    held += part->keys().size();
  }
  EXPECT_EQ(held, all->keys().size());
}

TEST(RankSource, ARankWithoutExpertsHasOneToItself) {
  TestModel model({});
  const auto all = model.pack_source();
  const Placement placement = place_by_order(plain_order(3, 8), 16);
  EXPECT_EQ(make_rank_source(*all, placement, {0, 1, 2}, 1)->keys().size(), 1u);
}

}  // namespace
}  // namespace switchyard
