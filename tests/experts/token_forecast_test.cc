#include "experts/token_forecast.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "experts/simulation.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

constexpr uint32_t kLayers = 4, kExperts = 16, kTokens = 12;

// Layer l routes token t to (t + l) mod 16; behind t comes t + 1, or with chance `strays` any.
RoutingTrace walk(uint32_t steps, uint64_t seed, double strays = 0.1) {
  Prng prng(seed);
  RoutingTrace trace;
  trace.shape = {.layers = {0, 2, 3, 5}, .experts = kExperts, .top_k = 1, .expert_bytes = 1 << 20};
  uint32_t token = 0;
  for (uint32_t i = 0; i < steps; ++i) {
    RoutingStep step;
    step.phase = TracePhase::kDecode;
    step.tokens = {static_cast<TokenId>(token)};
    for (uint32_t layer = 0; layer < kLayers; ++layer) {
      step.routed.push_back({static_cast<uint16_t>((token + layer) % kExperts), 1.0F});
    }
    trace.steps.push_back(step);
    const bool strayed = prng.uniform() < strays;
    token = static_cast<uint32_t>(strayed ? prng.below(kTokens) : (token + 1) % kTokens);
  }
  return trace;
}

std::vector<ForeseenUse> foretold(const TokenForecast& forecast, std::vector<TokenId> tokens) {
  std::vector<ForeseenUse> uses;
  std::vector<TokenContext> contexts;
  for (const TokenId token : tokens) contexts.push_back({.token = token});
  forecast.foretell(contexts, uses);
  return uses;
}

ForeseenUse use_of(const std::vector<ForeseenUse>& uses, ExpertKey key) {
  const auto found = std::ranges::find(uses, key, &ForeseenUse::key);
  return found == uses.end() ? ForeseenUse{key, 0, 0} : *found;
}

TEST(TokenForecast, TellsATokensExpertsAndItsSuccessors) {
  const TokenForecast forecast(walk(2000, 1));
  EXPECT_GT(forecast.bytes(), 0u);
  const std::vector<ForeseenUse> uses = foretold(forecast, {3});
  for (const auto& [layer, expert] :
       {std::pair<uint16_t, uint16_t>{0, 3}, {2, 4}, {3, 5}, {5, 6}}) {
    EXPECT_GT(use_of(uses, {layer, expert}).now, 0.9F);
    EXPECT_LT(use_of(uses, {layer, expert}).later, 0.1F);
    const ExpertKey behind = {layer, static_cast<uint16_t>(expert + 1)};
    EXPECT_LT(use_of(uses, behind).now, 0.1F);
    EXPECT_GT(use_of(uses, behind).later, 0.7F);
  }
}

// Where the token before decides, pairs tell; unknown ones are taken for their second tokens.
TEST(TokenForecast, TellsByTheTokenBefore) {
  Prng prng(3);
  RoutingTrace trace;
  trace.shape = {.layers = {0}, .experts = kExperts, .top_k = 1, .expert_bytes = 1 << 20};
  for (uint64_t before = 0, i = 0; i < 400; ++i) {
    const uint64_t token = prng.below(3);
    RoutingStep step;
    step.tokens = {static_cast<TokenId>(token)};
    step.routed.push_back({static_cast<uint16_t>(before * 4 + token), 1.0F});
    trace.steps.push_back(step);
    before = token;
  }
  const TokenForecast forecast(trace);
  std::vector<ForeseenUse> uses;
  forecast.foretell(std::vector<TokenContext>{{2, 1}}, uses);
  EXPECT_GT(use_of(uses, {0, 9}).now, 0.9F);
  forecast.foretell(std::vector<TokenContext>{{7, 1}}, uses);
  for (const ForeseenUse& use : uses) EXPECT_LT(use.now, 0.5F);
}

TEST(TokenForecast, OfSeveralTokensOneOfWhichMayNeedAnExpert) {
  const TokenForecast forecast(walk(2000, 1));
  const std::vector<ForeseenUse> uses = foretold(forecast, {3, 7});
  EXPECT_GT(use_of(uses, {0, 3}).now, 0.9F);
  EXPECT_GT(use_of(uses, {0, 7}).now, 0.9F);
  for (const ForeseenUse& use : uses) {
    EXPECT_LE(use.now, 1.0F);
    EXPECT_LE(use.later, 1.0F);
  }
  EXPECT_TRUE(foretold(forecast, std::vector<TokenId>(TokenForecast::kTokensMax + 1, 3)).empty());
  EXPECT_TRUE(foretold(forecast, {}).empty());
}

TEST(TokenForecast, OfUnknownTokensTheMean) {
  const TokenForecast forecast(walk(2000, 1));
  for (const TokenId token : {-1, 99}) {
    const std::vector<ForeseenUse> uses = foretold(forecast, {token});
    EXPECT_FALSE(uses.empty());
    for (const ForeseenUse& use : uses) EXPECT_NEAR(use.now, 1.0 / kTokens, 0.04);
  }
  EXPECT_TRUE(foretold(TokenForecast(RoutingTrace{{{0}, 4, 1, 0}, "", {}}), {1}).empty());
}

TEST(TokenForecast, KeepsWhatIsToComeInMemory) {
  const TokenForecast forecast(walk(2000, 1, 1));
  const RoutingTrace trace = walk(1000, 2, 1);
  SimulationOptions options{.slots = 16,
                            .policy = "recall",
                            .predictor = "none",
                            .expert_bytes = 1 << 20,
                            .bytes_per_second = 1e9};
  const double without = simulate(trace, options)->hit_rate();
  options.forecast = &forecast;
  EXPECT_GT(simulate(trace, options)->hit_rate(), without);
}

}  // namespace
}  // namespace switchyard
