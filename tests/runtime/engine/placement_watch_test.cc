#include "runtime/engine/placement_watch.h"

#include <gtest/gtest.h>

#include <vector>

namespace switchyard {
namespace {

const Placement kBase = place_by_order(plain_order(1, 4), 2);

// What two ranks did in one layer of four experts, so far.
std::vector<RankWork> work(std::vector<uint64_t> picks, uint64_t first, uint64_t second) {
  return {{.picks = {picks}, .computed = {first}}, {.picks = {{0, 0, 0, 0}}, .computed = {second}}};
}

PlacementWatch watch_of_base() { return {{.base = kBase, .memory_share = 0.5}, kBase}; }

TEST(PlacementWatch, LooksWhenEnoughWasComputed) {
  PlacementWatch watch = watch_of_base();
  EXPECT_FALSE(watch.due());
  watch.computed(200);
  EXPECT_FALSE(watch.due());
  watch.computed(56);
  EXPECT_TRUE(watch.due());
  EXPECT_FALSE(watch.advise(work({200, 0, 28, 28}, 200, 56)));
  EXPECT_FALSE(watch.due());
}

TEST(PlacementWatch, TellsWhatBecameOfAChange) {
  PlacementWatch watch = watch_of_base();
  watch.computed(256);
  EXPECT_FALSE(watch.advise(work({200, 0, 28, 28}, 200, 56)));
  watch.computed(256);
  const auto changed = watch.advise(work({400, 0, 56, 56}, 400, 112));
  ASSERT_TRUE(changed);
  EXPECT_EQ(changed->holders[0][0], 0b11u);
  ASSERT_EQ(watch.changes().size(), 1u);
  EXPECT_EQ(watch.changes()[0].tokens, 512u);
  EXPECT_DOUBLE_EQ(watch.changes()[0].busiest_before, 400 * 2 / 512.0);
  // 128 more on either.
  watch.computed(256);
  watch.update(work({600, 0, 84, 84}, 528, 240));
  EXPECT_DOUBLE_EQ(watch.changes()[0].busiest_after, 1);
  EXPECT_FALSE(watch.advise(work({600, 0, 84, 84}, 528, 240)));
}

TEST(PlacementWatch, TakesBackWhatMadeItWorseAndRests) {
  PlacementWatch watch = watch_of_base();
  uint64_t rounds = 0;
  const auto advise = [&](uint64_t second) {
    rounds += 1;
    watch.computed(256);
    return watch.advise(work({200 * rounds, 0, 28 * rounds, 28 * rounds}, 200 * rounds, second));
  };
  EXPECT_FALSE(advise(56));
  EXPECT_TRUE(advise(112));
  // All on one rank since.
  const auto back = advise(112);
  ASSERT_TRUE(back);
  EXPECT_EQ(back->holders, kBase.holders);
  EXPECT_EQ(watch.changes().size(), 2u);
  for (int i = 0; i < 4; ++i) EXPECT_FALSE(advise(112));
}

}  // namespace
}  // namespace switchyard
