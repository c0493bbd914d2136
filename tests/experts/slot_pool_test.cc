#include "experts/slot_pool.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "experts/policies/registry.h"

namespace switchyard {
namespace {

constexpr uint64_t kSlotBytes = 64;
const std::vector<ExpertKey> kKeys = {{0, 0}, {0, 1}, {3, 0}, {3, 7}};

class SlotPoolTest : public testing::Test {
 protected:
  SlotIndex load(ExpertKey key) {
    const auto slot = pool_.take(key);
    EXPECT_TRUE(slot);
    pool_.loaded(*slot);
    pool_.use(key);
    return *slot;
  }

  std::array<std::byte, 2 * kSlotBytes> memory_{};
  SlotPool pool_{memory_, kSlotBytes, kKeys, *make_policy("lru", {2, kKeys})};
};

TEST_F(SlotPoolTest, LoadingIsNotFound) {
  const auto slot = pool_.take({0, 1});
  ASSERT_TRUE(slot);
  EXPECT_EQ(pool_.residency(*slot), Residency::kLoading);
  EXPECT_EQ(pool_.key(*slot), (ExpertKey{0, 1}));
  EXPECT_FALSE(pool_.find({0, 1}));
  pool_.loaded(*slot);
  EXPECT_EQ(pool_.find({0, 1}), slot);
  EXPECT_EQ(pool_.memory(*slot).size(), kSlotBytes);
}

TEST_F(SlotPoolTest, FailedLoadLeavesTheSlotAbsent) {
  const auto slot = pool_.take({0, 1});
  ASSERT_TRUE(slot);
  pool_.load_failed(*slot);
  EXPECT_EQ(pool_.residency(*slot), Residency::kAbsent);
  EXPECT_FALSE(pool_.find({0, 1}));
  EXPECT_EQ(pool_.absent(), 2u);
}

TEST_F(SlotPoolTest, LoadingAndLeasedSlotsAreKept) {
  const SlotIndex first = load({0, 0});
  const auto second = pool_.take({0, 1});
  ASSERT_TRUE(second);
  pool_.lease(first);
  pool_.lease(first);
  EXPECT_FALSE(pool_.take({3, 7}));
  pool_.unlease(first);
  EXPECT_FALSE(pool_.take({3, 7}));
  pool_.unlease(first);
  EXPECT_EQ(pool_.take({3, 7}), first);
  EXPECT_FALSE(pool_.find({0, 0}));
  pool_.load_failed(*second);
}

TEST_F(SlotPoolTest, TheOldestUseIsEvicted) {
  const SlotIndex first = load({0, 0});
  const SlotIndex second = load({0, 1});
  pool_.use({0, 0});
  EXPECT_EQ(load({3, 0}), second);
  EXPECT_TRUE(pool_.find({0, 0}));
  EXPECT_FALSE(pool_.find({0, 1}));
  EXPECT_EQ(pool_.find({3, 0}), second);
  EXPECT_EQ(load({3, 7}), first);
}

TEST_F(SlotPoolTest, WhatIsExpectedGoesLast) {
  const SlotIndex first = load({0, 0});
  const SlotIndex second = load({0, 1});
  pool_.expect({0, 0});
  EXPECT_EQ(pool_.take({3, 0}), second);
  pool_.load_failed(second);
  load({3, 0});
  pool_.expect({3, 0});
  EXPECT_FALSE(pool_.take({3, 7}, SlotPool::Victims::kUnexpected));
  EXPECT_EQ(pool_.take({3, 7}), first);
}

TEST_F(SlotPoolTest, AnExpectationEndsWithItsLayer) {
  const SlotIndex first = load({0, 0});
  load({0, 1});
  pool_.expect({0, 0});
  pool_.begin_layer(3);
  EXPECT_NE(pool_.take({3, 0}), first);
  pool_.begin_layer(0);
  EXPECT_EQ(pool_.take({3, 7}, SlotPool::Victims::kUnexpected), first);
}

TEST_F(SlotPoolTest, ALentSlotHoldsNoExpertUntilItIsGivenBack) {
  const SlotIndex first = load({0, 0});
  const SlotIndex second = load({0, 1});
  pool_.lease(first);
  EXPECT_EQ(pool_.lend(), second);
  EXPECT_FALSE(pool_.find({0, 1}));
  EXPECT_EQ(pool_.lent(), 1u);
  EXPECT_FALSE(pool_.lend()) << "the other one is leased";
  EXPECT_FALSE(pool_.take({3, 0}));
  pool_.unlease(first);
  pool_.give_back(second);
  EXPECT_EQ(pool_.take({3, 0}), second);
  EXPECT_EQ(pool_.lent(), 0u);
  EXPECT_TRUE(pool_.find({0, 0}));
  pool_.load_failed(second);
}

using SlotPoolDeathTest = SlotPoolTest;

TEST_F(SlotPoolDeathTest, VerbsOutOfOrder) {
  const SlotIndex slot = load({0, 0});
  EXPECT_DEATH((void)pool_.take({0, 0}), "bug");
  EXPECT_DEATH((void)pool_.take({1, 0}), "no layer 1, expert 0");
  EXPECT_DEATH(pool_.unlease(slot), "bug");
  EXPECT_DEATH(pool_.loaded(slot), "bug");
  EXPECT_DEATH(pool_.load_failed(slot), "bug");
  EXPECT_DEATH(pool_.lease({1}), "bug");
  EXPECT_DEATH(pool_.give_back(slot), "bug");
}

void drop_pool_with_lease() {
  std::vector<std::byte> memory(kSlotBytes);
  SlotPool pool(memory, kSlotBytes, {{0, 0}}, *make_policy("lru", {1, {{0, 0}}}));
  const SlotIndex slot = *pool.take({0, 0});
  pool.loaded(slot);
  pool.lease(slot);
}

TEST(SlotPoolLifeDeathTest, NoLeaseOutlivesThePool) { EXPECT_DEATH(drop_pool_with_lease(), "bug"); }

TEST(SlotPoolForecast, WhatIsForeseenStays) {
  std::array<std::byte, 2 * kSlotBytes> memory{};
  for (const ExpertKey foreseen : {ExpertKey{3, 0}, ExpertKey{3, 7}}) {
    SlotPool pool(memory, kSlotBytes, kKeys, *make_policy("recall", {2, kKeys}));
    const auto load = [&](ExpertKey key) { pool.loaded(*pool.take(key)); };
    load({3, 0});
    load({3, 7});
    const std::vector<ForeseenUse> uses = {{foreseen, 1, 0}, {{9, 9}, 1, 1}};
    pool.foresee(uses);
    pool.begin_layer(0);
    load({0, 0});
    EXPECT_TRUE(pool.find(foreseen));
  }
}

}  // namespace
}  // namespace switchyard
