#include "experts/policies/policy.h"

#include <gtest/gtest.h>

#include "experts/policies/registry.h"

namespace switchyard {
namespace {

TEST(Policies, UnknownNameListsThoseThereAre) {
  const auto policy = make_policy("lra", {4, {{0, 0}}});
  ASSERT_FALSE(policy);
  EXPECT_EQ(policy.error().code, Code::kUsage);
  EXPECT_NE(policy.error().what.find("lra"), std::string::npos);
  EXPECT_NE(policy.error().hint.find("lru"), std::string::npos);
}

TEST(Lru, TheLastUseIsWorthMost) {
  const auto policy = *make_policy("lru", {2, {{0, 0}, {0, 1}, {0, 2}}});
  for (const uint32_t place : {2, 0, 1}) policy->use(place, 1);
  EXPECT_LT(policy->worth(2), policy->worth(0));
  EXPECT_LT(policy->worth(0), policy->worth(1));
  policy->use(2, 1);
  EXPECT_LT(policy->worth(1), policy->worth(2));
}

TEST(Lru, AdmissionIsNoUse) {
  const auto policy = *make_policy("lru", {2, {{0, 0}, {0, 1}}});
  policy->use(0, 1);
  policy->use(1, 1);
  policy->admitted(0);
  EXPECT_LT(policy->worth(0), policy->worth(1));
}

TEST(Lru, WhatWasNeverUsedGoesInTheOrderOfAdmission) {
  const auto policy = *make_policy("lru", {2, {{0, 0}, {0, 1}}});
  policy->admitted(1);
  policy->admitted(0);
  EXPECT_LT(policy->worth(1), policy->worth(0));
}

// Ten layers, of which the policies see every one begin in every step.
class PolicyTest : public testing::Test {
 protected:
  static constexpr uint32_t kLayers = 10, kExperts = 4;
  PolicyTest() {
    shape_.slots = 10;
    for (uint16_t layer = 0; layer < kLayers; ++layer) {
      for (uint16_t expert = 0; expert < kExperts; ++expert) shape_.keys.push_back({layer, expert});
    }
  }
  static uint32_t place(uint32_t layer, uint32_t expert) { return layer * kExperts + expert; }
  // A step in which every layer takes `expert`.
  static void step(EvictionPolicy& policy, uint32_t expert) {
    for (uint16_t layer = 0; layer < kLayers; ++layer) {
      policy.begin_layer(layer);
      policy.use(place(layer, expert), 1);
    }
  }

  PolicyShape shape_;
};

TEST_F(PolicyTest, FrequencyOutweighsOneRecentUse) {
  for (const char* name : {"lfu", "decayed-lfu", "multi-scale", "activation", "recall"}) {
    const auto policy = *make_policy(name, shape_);
    for (int i = 0; i < 8; ++i) step(*policy, 1);
    step(*policy, 2);
    EXPECT_GT(policy->worth(place(5, 1)), policy->worth(place(5, 2))) << name;
    EXPECT_GT(policy->worth(place(5, 2)), policy->worth(place(5, 3))) << name;
  }
}

TEST_F(PolicyTest, OldFrequencyFades) {
  for (const char* name : {"lfu", "decayed-lfu", "multi-scale", "recall", "freq-recency"}) {
    const auto policy = *make_policy(name, shape_);
    for (int i = 0; i < 8; ++i) step(*policy, 1);
    for (int i = 0; i < 60; ++i) step(*policy, i % 2 == 0 ? 2 : 3);
    EXPECT_LT(policy->worth(place(5, 1)), policy->worth(place(5, 2))) << name;
  }
}

TEST_F(PolicyTest, SlruProtectsWhatIsUsedAgain) {
  const auto policy = *make_policy("slru", shape_);
  for (const uint32_t expert : {0U, 1U}) {
    policy->use(place(0, expert), 1);
    policy->admitted(place(0, expert));
  }
  policy->use(place(0, 0), 1);
  policy->use(place(1, 0), 1);
  policy->admitted(place(1, 0));
  EXPECT_GT(policy->worth(place(0, 0)), policy->worth(place(1, 0)));
  EXPECT_GT(policy->worth(place(1, 0)), policy->worth(place(0, 1)));
  policy->evicted(place(0, 0));
  policy->admitted(place(0, 0));
  policy->use(place(1, 0), 1);
  EXPECT_LT(policy->worth(place(0, 0)), policy->worth(place(1, 0)));
}

TEST_F(PolicyTest, LeastStaleKeepsWhatThisPassUsed) {
  const auto policy = *make_policy("least-stale", shape_);
  step(*policy, 1);
  policy->begin_layer(0);
  policy->use(place(0, 2), 1);
  policy->begin_layer(1);
  EXPECT_LT(policy->worth(place(0, 1)), policy->worth(place(0, 2)));  // its layer passed it by
  EXPECT_LT(policy->worth(place(0, 1)), policy->worth(place(5, 1)));  // its turn is to come
}

// Two routes in turn by pairs: what began like the first goes on like it.
TEST_F(PolicyTest, RecallKnowsALikeRoute) {
  const auto policy = *make_policy("recall", shape_);
  for (int i = 0; i < 6; ++i) {
    for (int j = 0; j < 3; ++j) step(*policy, 1);
    for (int j = 0; j < 3; ++j) step(*policy, 2);
  }
  for (uint16_t layer = 0; layer < 4; ++layer) {
    policy->begin_layer(layer);
    policy->use(place(layer, 1), 1);
  }
  EXPECT_GT(policy->worth(place(7, 1)), policy->worth(place(7, 2)));
}

TEST_F(PolicyTest, OracleEvictsWhatIsUsedLast) {
  FutureUses future;
  future.uses.resize(shape_.keys.size());
  future.uses[0] = {0, 9};
  future.uses[1] = {1, 5};
  shape_.future = &future;
  const auto policy = *make_policy("oracle", shape_);
  policy->begin_layer(0);
  policy->use(0, 1);
  EXPECT_LT(policy->worth(0), policy->worth(1));
  policy->begin_layer(1);
  policy->use(1, 1);
  EXPECT_LT(policy->worth(0), policy->worth(1));
  EXPECT_LT(policy->worth(2), policy->worth(0));
  shape_.future = nullptr;
  EXPECT_EQ(make_policy("oracle", shape_).error().code, Code::kUsage);
}

}  // namespace
}  // namespace switchyard
