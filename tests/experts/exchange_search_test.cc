#include "experts/exchange_search.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "experts/grouping.h"

namespace switchyard {
namespace {

// Tokens that choose two experts of the same pair of eight: {0, 4}, {1, 5}, …, and of pairs {0, 4}
// is chosen `hot` times as often as the others.
LayerRoutes paired_routes(size_t hot) {
  LayerRoutes routes{.experts = 8};
  for (uint16_t pair = 0; pair < 4; ++pair) {
    for (size_t token = 0; token < (pair == 0 ? 50 * hot : 50); ++token) {
      routes.picks.insert(routes.picks.end(), {pair, static_cast<uint16_t>(pair + 4)});
      routes.end_token();
    }
  }
  return routes;
}

// Tokens that choose one of each of two pairs, always the same two pairs: {0, 4} with {1, 5}.
void add_pairs_of_pairs(LayerRoutes& routes) {
  for (size_t token = 0; token < 40; ++token) {
    const auto low = static_cast<uint16_t>(token % 2 * 2);
    routes.picks.insert(routes.picks.end(), {low, static_cast<uint16_t>(low + 1)});
    routes.end_token();
  }
}

const ExchangeSettings kSettings{
    .cuts = {4}, .moves_per_expert = 400, .heat_first = 0.02, .heat_last = 0.0001, .balance = 0.1};

const std::vector<uint32_t> kApart = {0, 0, 1, 1, 2, 2, 3, 3};

TEST(ExchangeSearch, CutsCoarseAndFineAtOnce) {
  LayerRoutes routes = paired_routes(1);
  add_pairs_of_pairs(routes);
  ExchangeSettings settings = kSettings;
  settings.cuts = {2, 4};
  Prng prng(1);
  const auto part = search_exchanges(routes, kApart, settings, prng);
  for (uint32_t pair = 0; pair < 4; ++pair) EXPECT_EQ(part[pair], part[pair + 4]);
  EXPECT_EQ(part[0] / 2, part[1] / 2) << "pairs chosen together lie in one half";
  EXPECT_EQ(part[2] / 2, part[3] / 2);
  for (uint32_t number = 0; number < 4; ++number) EXPECT_EQ(std::ranges::count(part, number), 2);
}

TEST(ExchangeSearch, GoesRoundWhatPartsDoInOtherLayers) {
  // Pair {0, 4} has half of the work; part 2 alone has nothing to do elsewhere.
  ExchangeSettings settings = kSettings;
  settings.balance_all = 5;
  settings.others = {600, 600, 0, 600};
  Prng prng(1);
  const auto part = search_exchanges(paired_routes(3), kApart, settings, prng);
  EXPECT_EQ(part[0], 2u);
  EXPECT_EQ(part[4], 2u);
}

TEST(ExchangeSearch, LeavesWhatItKnowsNothingOf) {
  Prng prng(1);
  EXPECT_EQ(search_exchanges({.experts = 8}, kApart, kSettings, prng), kApart);
  ExchangeSettings settings = kSettings;
  settings.cuts = {1};
  const std::vector<uint32_t> one(8);
  EXPECT_EQ(search_exchanges(paired_routes(1), one, settings, prng), one);
}

}  // namespace
}  // namespace switchyard
