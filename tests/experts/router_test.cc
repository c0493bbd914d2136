#include "experts/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <vector>

#include "runtime/base/prng.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

std::vector<RoutedExpert> route(std::vector<float> logits, size_t k, bool renormalise) {
  std::vector<RoutedExpert> chosen(k);
  route_token(all_kernels().back(), logits, renormalise, chosen);
  return chosen;
}

std::vector<uint16_t> experts_of(const std::vector<RoutedExpert>& chosen) {
  std::vector<uint16_t> experts;
  for (const RoutedExpert& routed : chosen) experts.push_back(routed.expert);
  return experts;
}

TEST(Router, BestFirst) {
  EXPECT_EQ(experts_of(route({0.5f, 3, -1, 2}, 3, false)), (std::vector<uint16_t>{1, 3, 0}));
}

TEST(Router, TiesGoToTheLowerId) {
  EXPECT_EQ(experts_of(route({1, 2, 2, 1, 2}, 4, false)), (std::vector<uint16_t>{1, 2, 4, 0}));
  EXPECT_EQ(experts_of(route({0, 0, 0, 0}, 2, true)), (std::vector<uint16_t>{0, 1}));
  EXPECT_EQ(experts_of(route({-0.0f, 0.0f}, 1, true)), (std::vector<uint16_t>{0}));
}

TEST(Router, TopOneOfOne) {
  const auto chosen = route({-7}, 1, false);
  EXPECT_EQ(chosen[0].expert, 0);
  EXPECT_EQ(chosen[0].gate_weight, 1);
}

TEST(Router, TopOneKeepsItsSoftmaxUnlessRenormalised) {
  EXPECT_NEAR(route({0, 0, 0, 1}, 1, false)[0].gate_weight, std::exp(1) / (3 + std::exp(1)), 1e-6);
  EXPECT_EQ(route({0, 0, 0, 1}, 1, true)[0].gate_weight, 1);
}

TEST(Router, AllExperts) {
  const auto chosen = route({2, -1, 5}, 3, false);
  EXPECT_EQ(experts_of(chosen), (std::vector<uint16_t>{2, 0, 1}));
  EXPECT_NEAR(chosen[0].gate_weight + chosen[1].gate_weight + chosen[2].gate_weight, 1, 1e-6);
}

TEST(Router, RenormaliseDividesByTheSumOfTheChosen) {
  const auto plain = route({1, 2, 3, 4}, 2, false);
  const auto renormalised = route({1, 2, 3, 4}, 2, true);
  const float sum = plain[0].gate_weight + plain[1].gate_weight;
  EXPECT_LT(sum, 0.9f);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(renormalised[i].gate_weight, plain[i].gate_weight / sum);
  }
}

// Logits whose difference no probability shows are told apart all the same.
TEST(Router, SubnormalGapsDecide) {
  const float tiny = std::numeric_limits<float>::denorm_min();
  EXPECT_EQ(experts_of(route({0, tiny, 2 * tiny}, 2, true)), (std::vector<uint16_t>{2, 1}));
  EXPECT_EQ(experts_of(route({-tiny, 0, -2 * tiny}, 3, true)), (std::vector<uint16_t>{1, 0, 2}));
}

// Against a stable sort, with many ties.
TEST(Router, AgreesWithAStableSort) {
  Prng prng(4);
  for (int round = 0; round < 2000; ++round) {
    const size_t experts = 1 + prng.below(70);
    const size_t k = 1 + prng.below(experts);
    std::vector<float> logits(experts);
    for (float& logit : logits) logit = static_cast<float>(prng.below(9)) / 4 - 1;
    std::vector<uint16_t> order(experts);
    std::iota(order.begin(), order.end(), uint16_t{0});
    std::stable_sort(order.begin(), order.end(),
                     [&](uint16_t a, uint16_t b) { return logits[a] > logits[b]; });
    order.resize(k);
    ASSERT_EQ(experts_of(route(logits, k, round % 2 == 0)), order) << "round " << round;
  }
}

}  // namespace
}  // namespace switchyard
