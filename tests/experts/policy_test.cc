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
  for (const uint32_t place : {2, 0, 1}) policy->use(place);
  EXPECT_LT(policy->worth(2), policy->worth(0));
  EXPECT_LT(policy->worth(0), policy->worth(1));
  policy->use(2);
  EXPECT_LT(policy->worth(1), policy->worth(2));
}

TEST(Lru, AdmissionIsNoUse) {
  const auto policy = *make_policy("lru", {2, {{0, 0}, {0, 1}}});
  policy->use(0);
  policy->use(1);
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
      policy.use(place(layer, expert));
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
    policy->use(place(0, expert));
    policy->admitted(place(0, expert));
  }
  policy->use(place(0, 0));
  policy->use(place(1, 0));
  policy->admitted(place(1, 0));
  EXPECT_GT(policy->worth(place(0, 0)), policy->worth(place(1, 0)));
  EXPECT_GT(policy->worth(place(1, 0)), policy->worth(place(0, 1)));
  policy->evicted(place(0, 0));
  policy->admitted(place(0, 0));
  policy->use(place(1, 0));
  EXPECT_LT(policy->worth(place(0, 0)), policy->worth(place(1, 0)));
}

TEST_F(PolicyTest, LeastStaleKeepsWhatThisPassUsed) {
  const auto policy = *make_policy("least-stale", shape_);
  step(*policy, 1);
  policy->begin_layer(0);
  policy->use(place(0, 2));
  policy->begin_layer(1);
  EXPECT_LT(policy->worth(place(0, 1)), policy->worth(place(0, 2)));  // its layer passed it by
  EXPECT_LT(policy->worth(place(0, 1)), policy->worth(place(5, 1)));  // its turn is to come
}

TEST_F(PolicyTest, FreqRecencyIsUsesOverAge) {
  const auto policy = *make_policy("freq-recency", shape_);
  for (int i = 0; i < 6; ++i) step(*policy, 1);
  step(*policy, 2);
  EXPECT_DOUBLE_EQ(policy->worth(place(5, 1)), 6.0 / 2);
  EXPECT_DOUBLE_EQ(policy->worth(place(5, 2)), 1.0);
}

// One layer takes the same two experts always, the other each in its turn.
TEST_F(PolicyTest, DecayedLfuCountsShares) {
  const auto policy = *make_policy("decayed-lfu", shape_);
  for (uint32_t i = 0; i < 40; ++i) {
    policy->begin_layer(0);
    policy->use(place(0, 0));
    policy->begin_layer(1);
    policy->use(place(1, i % kExperts));
  }
  EXPECT_DOUBLE_EQ(policy->worth(place(0, 0)), 1);
  EXPECT_GT(policy->worth(place(1, 3)), 0.8);  // a fourth of the uses, and yet one of the first
}

TEST_F(PolicyTest, LayersWhoseTurnIsNextAreWorthMore) {
  for (const char* name : {"activation", "multi-scale", "recall"}) {
    const auto policy = *make_policy(name, shape_);
    for (int i = 0; i < 4; ++i) step(*policy, 1);
    policy->begin_layer(0);
    policy->use(place(0, 1));
    EXPECT_GT(policy->worth(place(1, 1)), policy->worth(place(2, 1))) << name;
    EXPECT_GT(policy->worth(place(2, 1)), policy->worth(place(9, 1))) << name;
  }
}

// 1 is followed by 2, which is followed by 3, which was used later than 2.
TEST_F(PolicyTest, RecallKnowsWhatFollows) {
  const auto recall = *make_policy("recall", shape_);
  const auto blind = *make_policy("multi-scale", shape_);
  for (EvictionPolicy* policy : {recall.get(), blind.get()}) {
    for (int i = 0; i < 6; ++i) {
      for (const uint32_t expert : {1, 2, 3}) step(*policy, expert);
    }
    step(*policy, 1);
  }
  EXPECT_LT(blind->worth(place(5, 2)), blind->worth(place(5, 3)));
  EXPECT_GT(recall->worth(place(5, 2)), recall->worth(place(5, 3)));
}

// The earlier layers tell apart what this layer's own experts do not.
TEST_F(PolicyTest, RecallComparesWholeRoutes) {
  const auto policy = *make_policy("recall", shape_);
  const auto mixed = [&](uint32_t early, uint32_t late) {
    for (uint16_t layer = 0; layer < kLayers; ++layer) {
      policy->begin_layer(layer);
      policy->use(place(layer, layer < 8 ? early : late));
    }
  };
  for (int i = 0; i < 8; ++i) {
    mixed(1, 0);
    mixed(1, 2);
    mixed(3, 0);
    mixed(3, 1);
  }
  mixed(1, 0);
  EXPECT_GT(policy->worth(place(9, 2)), policy->worth(place(9, 1)));
  mixed(1, 2);
  mixed(3, 0);
  EXPECT_GT(policy->worth(place(9, 1)), policy->worth(place(9, 2)));
}

// More tokens than it remembers.
TEST_F(PolicyTest, RecallForgetsTheOldest) {
  const auto policy = *make_policy("recall", shape_);
  for (int i = 0; i < 300; ++i) step(*policy, i % 2);
  for (int i = 0; i < 300; ++i) step(*policy, 2 + i % 2);
  EXPECT_LT(policy->worth(place(5, 0)), 1e-6);
  EXPECT_GT(policy->worth(place(5, 2)), 0.1);
}

TEST_F(PolicyTest, OracleEvictsWhatIsUsedLast) {
  FutureUses future;
  future.uses.resize(shape_.keys.size());
  future.uses[0] = {0, 9};
  future.uses[1] = {1, 5};
  shape_.future = &future;
  const auto policy = *make_policy("oracle", shape_);
  policy->begin_layer(0);
  policy->use(0);
  EXPECT_LT(policy->worth(0), policy->worth(1));
  policy->begin_layer(1);
  policy->use(1);
  EXPECT_LT(policy->worth(0), policy->worth(1));
  EXPECT_LT(policy->worth(2), policy->worth(0));
  shape_.future = nullptr;
  EXPECT_EQ(make_policy("oracle", shape_).error().code, Code::kUsage);
}

TEST_F(PolicyTest, RecallBelievesAForecastOfLayersToComeAndOfTheNextStep) {
  const auto policy = *make_policy("recall", shape_);
  for (int i = 0; i < 3; ++i) step(*policy, 0);
  EvictionPolicy::Forecast forecast;
  forecast.now.resize(shape_.keys.size());
  forecast.later.resize(shape_.keys.size());
  forecast.now[place(2, 1)] = forecast.now[place(7, 1)] = 1;
  forecast.later[place(2, 3)] = 1;
  policy->foresee(forecast);
  EXPECT_GT(policy->worth(place(2, 1)), policy->worth(place(2, 2)));  // no layer has begun
  policy->begin_layer(4);
  EXPECT_EQ(policy->worth(place(2, 1)), policy->worth(place(2, 2)));  // its turn is over
  EXPECT_GT(policy->worth(place(2, 3)), policy->worth(place(2, 2)));
  EXPECT_GT(policy->worth(place(7, 1)), policy->worth(place(7, 2)));
}

}  // namespace
}  // namespace switchyard
