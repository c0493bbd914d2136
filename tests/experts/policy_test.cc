#include "experts/policies/policy.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "experts/policies/registry.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

std::unique_ptr<EvictionPolicy> lru(uint32_t slots) { return *make_policy("lru", slots); }

TEST(Policies, UnknownNameListsThoseThereAre) {
  const auto policy = make_policy("lra", 4);
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().code, Code::kUsage);
  EXPECT_NE(policy.error().what.find("lra"), std::string::npos);
  EXPECT_NE(policy.error().hint.find("lru"), std::string::npos);
}

TEST(Lru, OldestUseGoesFirst) {
  const auto policy = lru(3);
  std::vector<uint32_t> leases(3);
  for (const uint32_t slot : {2, 0, 1}) policy->admit({slot}, {});
  EXPECT_EQ(policy->victim(leases), SlotIndex{2});
  policy->touch({2});
  EXPECT_EQ(policy->victim(leases), SlotIndex{0});
  policy->forget({0});
  EXPECT_EQ(policy->victim(leases), SlotIndex{1});
  policy->admit({0}, {});
  EXPECT_EQ(policy->victim(leases), SlotIndex{1});
}

TEST(Lru, LeasedSlotsAreSteppedOver) {
  const auto policy = lru(3);
  for (const uint32_t slot : {0, 1, 2}) policy->admit({slot}, {});
  EXPECT_EQ(policy->victim(std::vector<uint32_t>{1, 2, 0}), SlotIndex{2});
  EXPECT_EQ(policy->victim(std::vector<uint32_t>{1, 0, 0}), SlotIndex{1});
}

TEST(Lru, OneSlot) {
  const auto policy = lru(1);
  policy->admit({0}, {});
  policy->touch({0});
  EXPECT_EQ(policy->victim(std::vector<uint32_t>{0}), SlotIndex{0});
}

TEST(Lru, AgreesWithAListOfUses) {
  constexpr uint32_t kSlots = 9;
  const auto policy = lru(kSlots);
  std::vector<uint32_t> uses;  // oldest first
  Prng prng(11);
  for (int round = 0; round < 20000; ++round) {
    const auto slot = static_cast<uint32_t>(prng.below(kSlots));
    const auto at = std::find(uses.begin(), uses.end(), slot);
    if (at == uses.end()) {
      policy->admit({slot}, {});
      uses.push_back(slot);
    } else if (prng.below(4) == 0) {
      policy->forget({slot});
      uses.erase(at);
    } else {
      policy->touch({slot});
      uses.erase(at);
      uses.push_back(slot);
    }
    std::vector<uint32_t> leases(kSlots);
    for (uint32_t& lease : leases) lease = prng.below(3) == 0;
    const auto free =
        std::find_if(uses.begin(), uses.end(), [&](uint32_t s) { return !leases[s]; });
    if (free == uses.end()) continue;
    ASSERT_EQ(policy->victim(leases), SlotIndex{*free}) << "round " << round;
  }
}

TEST(LruDeathTest, VerbsOutOfOrder) {
  const auto policy = lru(2);
  policy->admit({0}, {});
  EXPECT_DEATH(policy->admit({0}, {}), "bug");
  EXPECT_DEATH(policy->touch({1}), "bug");
  EXPECT_DEATH(policy->forget({1}), "bug");
  EXPECT_DEATH((void)policy->victim(std::vector<uint32_t>{1, 0}), "bug");
}

}  // namespace
}  // namespace switchyard
