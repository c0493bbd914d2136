#include "runtime/engine/sampler.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <vector>

namespace switchyard {
namespace {

std::map<TokenId, int> draws(SamplerOptions options, const std::vector<float>& logits, int count,
                             std::vector<TokenId> history = {}) {
  Sampler sampler(options);
  std::map<TokenId, int> drawn;
  for (int i = 0; i < count; ++i) ++drawn[sampler.sample(logits, history)];
  return drawn;
}

TEST(Sampler, TakesTheBestAndTheLowerIdOfEquals) {
  Sampler sampler({});
  EXPECT_EQ(sampler.sample(std::vector<float>{0, 3, 3, -1}, {}), 1);
}

TEST(Sampler, DrawsByTheSoftmax) {
  const auto drawn = draws({.temperature = 1, .seed = 7}, {0, std::log(3.f), -100}, 20000);
  EXPECT_NEAR(drawn.at(1) / 20000.0, 0.75, 0.015);
  EXPECT_FALSE(drawn.contains(2));
}

TEST(Sampler, FlattensWithTemperature) {
  const auto drawn = draws({.temperature = 2, .seed = 7}, {0, std::log(9.f)}, 20000);
  EXPECT_NEAR(drawn.at(1) / 20000.0, 0.75, 0.015);
}

TEST(Sampler, KeepsTopK) {
  const auto drawn = draws({.temperature = 5, .top_k = 2, .seed = 1}, {1, 2, 3, 2}, 2000);
  EXPECT_EQ(drawn.size(), 2u);
  EXPECT_TRUE(drawn.contains(2) && drawn.contains(1)) << "equal logits: the lower id stays";
}

TEST(Sampler, KeepsTheNucleus) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  EXPECT_EQ(draws({.temperature = 1, .top_p = 0.4f, .seed = 1}, logits, 1000).size(), 1u);
  EXPECT_EQ(draws({.temperature = 1, .top_p = 0.7f, .seed = 1}, logits, 1000).size(), 2u);
  EXPECT_EQ(draws({.temperature = 1, .top_p = 1, .seed = 1}, logits, 1000).size(), 3u);
}

TEST(Sampler, DropsWhatIsFarBelowTheBest) {
  const std::vector<float> logits = {std::log(0.5f), std::log(0.3f), std::log(0.2f)};
  EXPECT_EQ(draws({.temperature = 1, .min_p = 0.5f, .seed = 1}, logits, 1000).size(), 2u);
}

TEST(Sampler, PenalisesRepetitionOnce) {
  Sampler sampler({.repeat_penalty = 2});
  EXPECT_EQ(sampler.sample(std::vector<float>{3, 2}, std::vector<TokenId>{0, 0}), 1);
  EXPECT_EQ(sampler.sample(std::vector<float>{5, 2}, std::vector<TokenId>{0, 0}), 0);
  EXPECT_EQ(sampler.sample(std::vector<float>{-1, -1.5f}, std::vector<TokenId>{0}), 1);
}

TEST(Sampler, RepeatsItselfForASeed) {
  const std::vector<float> logits(100, 0.f);
  Sampler a({.temperature = 1, .seed = 3}), b({.temperature = 1, .seed = 3});
  Sampler c({.temperature = 1, .seed = 4});
  bool differs = false;
  for (int i = 0; i < 50; ++i) {
    const TokenId drawn = a.sample(logits, {});
    EXPECT_EQ(drawn, b.sample(logits, {}));
    differs = differs || drawn != c.sample(logits, {});
  }
  EXPECT_TRUE(differs);
}

}  // namespace
}  // namespace switchyard
