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

}  // namespace
}  // namespace switchyard
