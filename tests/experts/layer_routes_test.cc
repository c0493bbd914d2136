#include "experts/layer_routes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "runtime/base/prng.h"
#include "tests/experts/trace_testing.h"

namespace switchyard {
namespace {

TEST(RoutesOf, LeavesOutTokensThatWereNotRecorded) {
  Prng prng(3);
  const TraceShape shape{{0, 2}, 8, 2, 0};
  const RoutingTrace trace{shape, "", random_steps(shape, 40, 3, prng)};
  for (size_t at = 0; at < 2; ++at) {
    const LayerRoutes routes = routes_of(trace, at);
    size_t tokens = 0;
    for (const RoutingStep& step : trace.steps) {
      for (size_t token = 0; token < step.tokens.size(); ++token) {
        if (step.at(shape, at, token).empty()) continue;
        const auto expected = step.at(shape, at, token);
        EXPECT_TRUE(std::ranges::equal(routes.of(tokens), expected, {}, {}, &RoutedExpert::expert));
        tokens += 1;
      }
    }
    EXPECT_EQ(routes.tokens(), tokens);
  }
}

TEST(ThinOut, KeepsWholeTokensEvenlySpread) {
  LayerRoutes routes{.experts = 200};
  for (uint16_t token = 0; token < 100; ++token) {
    routes.picks.insert(routes.picks.end(), {token, static_cast<uint16_t>(token + 100)});
    routes.end_token();
  }
  const LayerRoutes thin = thin_out(routes, 4);
  EXPECT_EQ(thin.experts, 200u);
  EXPECT_THAT(thin.picks, testing::ElementsAre(0, 100, 25, 125, 50, 150, 75, 175));
  EXPECT_EQ(thin.tokens(), 4u);
  EXPECT_EQ(thin_out(routes, 100).picks, routes.picks);
  EXPECT_EQ(thin_out(routes, 1000).begins, routes.begins);
  EXPECT_EQ(thin_out(routes, 0).tokens(), 0u);
}

TEST(PicksOf, CountsEveryPick) {
  LayerRoutes routes{.experts = 4};
  routes.picks = {0, 3, 3};
  routes.begins = {0, 2, 3};
  EXPECT_THAT(picks_of({routes, {.experts = 1}}),
              testing::ElementsAre(testing::ElementsAre(1, 0, 0, 2), testing::ElementsAre(0)));
}

}  // namespace
}  // namespace switchyard
