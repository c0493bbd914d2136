#include "experts/grouping.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>

#include "runtime/base/prng.h"

namespace switchyard {
namespace {

// Tokens that choose `top_k` experts of one of `groups` planted groups, now and then another one.
// planted[i] are the i-th group's members.
LayerRoutes planted_routes(const std::vector<std::vector<uint16_t>>& planted, uint32_t top_k,
                           double strays, size_t tokens, uint64_t seed) {
  Prng prng(seed);
  LayerRoutes routes;
  for (const auto& group : planted) routes.experts += static_cast<uint32_t>(group.size());
  for (size_t token = 0; token < tokens; ++token) {
    const auto& group = planted[prng.below(planted.size())];
    std::set<uint16_t> chosen;
    while (chosen.size() < top_k) {
      chosen.insert(prng.uniform() < strays ? static_cast<uint16_t>(prng.below(routes.experts))
                                            : group[prng.below(group.size())]);
    }
    routes.picks.insert(routes.picks.end(), chosen.begin(), chosen.end());
    routes.end_token();
  }
  return routes;
}

std::vector<std::vector<uint16_t>> random_groups(uint32_t groups, uint32_t size, uint64_t seed) {
  Prng prng(seed);
  std::vector<uint16_t> experts(groups * size);
  std::iota(experts.begin(), experts.end(), uint16_t{0});
  for (size_t i = experts.size(); i > 1; --i) std::swap(experts[i - 1], experts[prng.below(i)]);
  std::vector<std::vector<uint16_t>> planted(groups);
  for (size_t i = 0; i < experts.size(); ++i) planted[i / size].push_back(experts[i]);
  return planted;
}

std::vector<size_t> sizes(const std::vector<uint32_t>& part_of, uint32_t parts) {
  std::vector<size_t> count(parts);
  for (const uint32_t part : part_of) count[part] += 1;
  return count;
}

TEST(Grouping, FindsWhatIsChosenTogether) {
  const LayerRoutes routes = planted_routes(random_groups(4, 6, 1), 4, 0, 600, 2);
  const auto parts = group_experts(routes, 4, 3);
  EXPECT_EQ(parts_per_token(routes, parts), 1.0);
  EXPECT_EQ(sizes(parts, 4), std::vector<size_t>(4, 6));
  EXPECT_LT(imbalance(routes, parts, 4), 1.15);
  EXPECT_EQ(group_experts(routes, 4, 3), parts) << "the same for the same seed";
}

TEST(Grouping, BeatsAnyOrderThatKnowsNothingOnTokensItHasNotSeen) {
  const auto planted = random_groups(4, 8, 5);
  const LayerRoutes seen = planted_routes(planted, 4, 0.2, 2000, 6);
  const LayerRoutes unseen = planted_routes(planted, 4, 0.2, 2000, 7);
  const double grouped = parts_per_token(unseen, group_experts(seen, 4, 1));
  const double plain = parts_per_token(unseen, ranks_of(plain_order(1, 32)[0], 4));
  EXPECT_LT(grouped, 1.8);
  EXPECT_GT(plain, 2.5);
}

TEST(Grouping, PartsDifferByOneExpertAtMost) {
  const LayerRoutes routes = planted_routes(random_groups(5, 6, 1), 3, 0.3, 300, 2);
  for (const uint32_t parts : {1U, 3U, 4U, 7U, 30U, 31U}) {
    const auto count = sizes(group_experts(routes, parts, 1), parts);
    EXPECT_LE(std::ranges::max(count) - std::ranges::min(count), 1u) << parts;
  }
  const LayerRoutes none{.experts = 6};
  EXPECT_EQ(sizes(group_experts(none, 3, 1), 3), std::vector<size_t>(3, 2));
  EXPECT_EQ(parts_per_token(none, std::vector<uint32_t>(6)), 0.0);
}

TEST(GroupOrder, IsGoodForEverySmallerWorldToo) {
  const auto planted = random_groups(8, 4, 9);
  const std::vector<LayerRoutes> layers = {planted_routes(planted, 3, 0, 1500, 1),
                                           planted_routes(planted, 3, 0, 1500, 2)};
  const ExpertOrder order = group_order(layers, 8, 1);
  for (size_t at = 0; at < layers.size(); ++at) {
    std::vector<uint16_t> sorted = order[at];
    std::ranges::sort(sorted);
    EXPECT_EQ(sorted, plain_order(1, 32)[0]) << "a permutation";
    for (const uint32_t world : {2U, 4U, 8U}) {
      EXPECT_LT(parts_per_token(layers[at], ranks_of(order[at], world)), 1.1) << world;
    }
  }
}

TEST(GroupOrder, EvensOutWhatRanksDoOverTheLayers) {
  // In every layer one group has nine tenths of the tokens.
  auto planted = random_groups(2, 4, 3);
  std::vector<LayerRoutes> layers;
  for (uint64_t layer = 0; layer < 4; ++layer) {
    LayerRoutes routes = planted_routes({planted[0]}, 2, 0, 900, layer);
    const LayerRoutes others = planted_routes({planted[1]}, 2, 0, 100, layer);
    routes.experts = 8;
    for (size_t token = 0; token < others.tokens(); ++token) {
      routes.picks.insert(routes.picks.end(), others.of(token).begin(), others.of(token).end());
      routes.end_token();
    }
    layers.push_back(routes);
  }
  const ExpertOrder order = group_order(layers, 2, 1);
  std::vector<size_t> loads(2);
  for (size_t at = 0; at < layers.size(); ++at) {
    const auto rank_of = ranks_of(order[at], 2);
    for (const uint16_t expert : layers[at].picks) loads[rank_of[expert]] += 1;
  }
  EXPECT_EQ(loads[0], loads[1]);
}

TEST(GroupOrder, TakesOddWorldsAndSmallLayers) {
  const LayerRoutes routes = planted_routes(random_groups(5, 3, 1), 3, 0.3, 200, 2);
  for (const uint32_t world : {3U, 5U, 8U, 64U}) {
    std::vector<uint16_t> sorted = group_order({routes}, world, 1)[0];
    std::ranges::sort(sorted);
    EXPECT_EQ(sorted, plain_order(1, 15)[0]) << world;
  }
}

}  // namespace
}  // namespace switchyard
