#include "runtime/engine/rope_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <numbers>

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using Real = long double;

constexpr Real kTwoPi = 2 * std::numbers::pi_v<Real>;

Result<RopeSpec> read(const std::string& json, RopeContext context = {32, 256, 10000},
                      std::vector<std::string>* warnings_out = nullptr) {
  const nlohmann::json object = nlohmann::json::parse(json);
  ConfigReader config(object, "M/config.json");
  std::vector<std::string> warnings;
  auto spec = read_rope(config, context, warnings);
  if (warnings_out) *warnings_out = warnings;
  return spec;
}

Real plain(Real theta, uint32_t i, uint32_t head_dim) {
  return std::pow(theta, -2 * Real(i) / head_dim);
}

// Every frequency within a few fp32 roundings of the formula.
void expect_near(const RopeSpec& spec, uint32_t head_dim,
                 const std::function<Real(uint32_t)>& formula) {
  ASSERT_EQ(spec.inverse_frequency.size(), head_dim / 2);
  for (uint32_t i = 0; i < head_dim / 2; ++i) {
    const Real want = formula(i);
    EXPECT_NEAR(spec.inverse_frequency[i], want, 16 * FLT_EPSILON * want) << "pair " << i;
  }
}

TEST(RopeDefault, BothStylesAndTheFamilysTheta) {
  for (const char* json :
       {"{}", R"({"rope_theta": 10000})", R"({"rope_theta": 10000.0, "rope_scaling": null})",
        R"({"rope_parameters": {"rope_type": "default", "rope_theta": 10000.0}})",
        R"({"rope_parameters": {"type": "default"}, "rope_theta": 1e4})"}) {
    const auto spec = read(json);
    ASSERT_TRUE(spec) << json << to_line(spec.error());
    EXPECT_EQ(spec->kind, "default");
    EXPECT_EQ(spec->attention_factor, 1);
    expect_near(*spec, 32, [](uint32_t i) { return plain(10000, i, 32); });
  }
}

TEST(RopeDefault, OddSizesAndLargeTheta) {
  for (const uint32_t head_dim : {2u, 6u, 80u, 128u, 2048u}) {
    const auto spec = read(R"({"rope_theta": 5e6})", {head_dim, 256, 1});
    expect_near(*spec, head_dim, [=](uint32_t i) { return plain(5e6, i, head_dim); });
    EXPECT_EQ(spec->inverse_frequency[0], 1);
  }
}

TEST(RopeLinear, DividesByFactor) {
  for (const char* json : {R"({"rope_scaling": {"type": "linear", "factor": 2.5}})",
                           R"({"rope_scaling": {"rope_type": "linear", "factor": 2.5}})",
                           R"({"rope_parameters": {"rope_type": "linear", "factor": 2.5}})"}) {
    const auto spec = read(json).value();
    EXPECT_EQ(spec.kind, "linear");
    expect_near(spec, 32, [](uint32_t i) { return plain(10000, i, 32) / 2.5L; });
  }
}

struct Yarn {
  Real theta = 10000, factor = 4, original = 16, fast = 32, slow = 1;
  bool truncate = true;
  uint32_t head_dim = 32;
};

Real yarn_formula(const Yarn& y, uint32_t i) {
  const auto pair_turning = [&y](Real turns) {
    return y.head_dim * std::log(y.original / (turns * kTwoPi)) / (2 * std::log(y.theta));
  };
  Real low = pair_turning(y.fast), high = pair_turning(y.slow);
  if (y.truncate) low = std::floor(low), high = std::ceil(high);
  low = std::max<Real>(low, 0);
  high = std::min<Real>(high, y.head_dim - 1);
  if (low == high) high += 0.001L;
  const Real ramp = std::clamp<Real>((i - low) / (high - low), 0, 1);
  const Real base = plain(y.theta, i, y.head_dim);
  return base * (1 - ramp) + base / y.factor * ramp;
}

TEST(RopeYarn, FixtureOfShortTraining) {
  const auto spec = read(R"({"rope_theta": 10000.0, "rope_scaling": {"factor": 4.0,
               "original_max_position_embeddings": 16, "rope_type": "yarn"}})")
                        .value();
  EXPECT_EQ(spec.kind, "yarn");
  EXPECT_EQ(spec.attention_factor, static_cast<float>(0.1L * std::log(Real(4)) + 1));
  expect_near(spec, 32, [](uint32_t i) { return yarn_formula({}, i); });
}

TEST(RopeYarn, LongTrainingRampsInTheMiddle) {
  const RopeContext context{128, 131072, 1e6};
  const auto spec = read(R"({"rope_scaling": {"factor": 4.0,
      "original_max_position_embeddings": 32768, "type": "yarn"}})",
                         context)
                        .value();
  const Yarn yarn{.theta = 1e6, .original = 32768, .head_dim = 128};
  expect_near(spec, 128, [&](uint32_t i) { return yarn_formula(yarn, i); });
  EXPECT_EQ(spec.inverse_frequency[0], 1);
}

TEST(RopeYarn, BetasAndTruncate) {
  const RopeContext context{64, 40960, 150000};
  const auto spec = read(R"({"rope_parameters": {"rope_type": "yarn", "rope_theta": 150000,
      "factor": 10, "original_max_position_embeddings": 4096, "beta_fast": 16.0,
      "beta_slow": 2, "truncate": false}})",
                         context)
                        .value();
  const Yarn yarn{.theta = 150000,
                  .factor = 10,
                  .original = 4096,
                  .fast = 16,
                  .slow = 2,
                  .truncate = false,
                  .head_dim = 64};
  expect_near(spec, 64, [&](uint32_t i) { return yarn_formula(yarn, i); });
}

TEST(RopeYarn, ZeroAndNullParametersAreAbsent) {
  const auto spec = read(R"({"rope_scaling": {"factor": 4, "rope_type": "yarn",
      "original_max_position_embeddings": 16, "beta_fast": 0, "beta_slow": null, "mscale": 0,
      "mscale_all_dim": 1, "attention_factor": null}})")
                        .value();
  expect_near(spec, 32, [](uint32_t i) { return yarn_formula({}, i); });
  EXPECT_EQ(spec.attention_factor, static_cast<float>(0.1L * std::log(Real(4)) + 1));
}

TEST(RopeYarn, FactorFollowsFromTheLengthsUnlessGiven) {
  const RopeContext context{32, 128, 10000};
  const auto implied = read(R"({"rope_scaling": {"rope_type": "yarn", "factor": null,
      "original_max_position_embeddings": 16}})",
                            context)
                           .value();
  expect_near(implied, 32, [](uint32_t i) { return yarn_formula({.factor = 8}, i); });
  const auto given = read(R"({"rope_scaling": {"rope_type": "yarn", "factor": 3,
      "original_max_position_embeddings": 16}})",
                          context)
                         .value();
  expect_near(given, 32, [](uint32_t i) { return yarn_formula({.factor = 3}, i); });
}

TEST(RopeYarn, TrainingLengthMayStandBesideOrBeAbsent) {
  const auto beside = read(R"({"original_max_position_embeddings": 16,
      "rope_scaling": {"rope_type": "yarn", "factor": 4}})")
                          .value();
  expect_near(beside, 32, [](uint32_t i) { return yarn_formula({}, i); });
  const auto absent = read(R"({"rope_scaling": {"rope_type": "yarn", "factor": 4}})").value();
  expect_near(absent, 32, [](uint32_t i) { return yarn_formula({.original = 256}, i); });
}

TEST(RopeYarn, AttentionFactor) {
  const auto attention = [](const std::string& more) {
    return read(R"({"rope_scaling": {"rope_type": "yarn", "factor": 40,
        "original_max_position_embeddings": 16, )" +
                more + "}}")
        .value()
        .attention_factor;
  };
  EXPECT_EQ(attention(R"("attention_factor": 1.5, "mscale": 2, "mscale_all_dim": 1)"), 1.5f);
  const Real log40 = std::log(Real(40));
  EXPECT_EQ(attention(R"("mscale": 0.707, "mscale_all_dim": 1.0)"),
            static_cast<float>((0.0707L * log40 + 1) / (0.1L * log40 + 1)));
  EXPECT_EQ(attention(R"("mscale": 0.707)"), static_cast<float>(0.1L * log40 + 1));
  const auto shrunk = read(R"({"rope_scaling": {"rope_type": "yarn", "factor": 0.5}})").value();
  EXPECT_EQ(shrunk.attention_factor, 1);
}

TEST(RopeLlama3, ThreeBands) {
  const RopeContext context{128, 131072, 500000};
  const auto spec = read(R"({"rope_parameters": {"rope_type": "llama3", "factor": 8.0,
      "low_freq_factor": 1.0, "high_freq_factor": 4.0, "rope_theta": 500000.0,
      "original_max_position_embeddings": 8192}})",
                         context)
                        .value();
  EXPECT_EQ(spec.kind, "llama3");
  EXPECT_EQ(spec.attention_factor, 1);
  int bands[3] = {};
  expect_near(spec, 128, [&bands](uint32_t i) -> Real {
    const Real base = plain(500000, i, 128);
    const Real turns = 8192 * base / kTwoPi;
    if (turns > 4) return ++bands[0], base;
    if (turns < 1) return ++bands[1], base / 8;
    ++bands[2];
    const Real smooth = (turns - 1) / 3;
    return (1 - smooth) * base / 8 + smooth * base;
  });
  EXPECT_GT(bands[0], 0);
  EXPECT_GT(bands[1], 0);
  EXPECT_GT(bands[2], 0);
}

TEST(RopeRefuses, ByName) {
  const struct {
    const char* json;
    Code code;
    const char* says;
  } cases[] = {
      {R"({"rope_scaling": {"type": "dynamic", "factor": 2}})", Code::kConfig, "\"dynamic\""},
      {R"({"rope_scaling": {"type": "longrope"}})", Code::kConfig, "\"longrope\""},
      {R"({"rope_scaling": {"rope_type": "mrope"}})", Code::kConfig, "\"mrope\""},
      {R"({"rope_parameters": {"full_attention": {"rope_type": "default"}}})", Code::kConfig,
       "rope_parameters"},
      {R"({"rope_parameters": {"partial_rotary_factor": 0.25}})", Code::kConfig,
       "partial_rotary_factor is 0.25"},
      {R"({"partial_rotary_factor": 0.25})", Code::kConfig, "partial_rotary_factor is 0.25"},
      {R"({"rope_scaling": 2})", Code::kBadData, "rope_scaling is 2"},
      {R"({"rope_scaling": {"rope_type": 2}})", Code::kBadData, "rope_type is 2"},
      {R"({"rope_scaling": {"rope_type": "yarn", "type": "linear", "factor": 2}})", Code::kBadData,
       "type is \"linear\""},
      {R"({"rope_scaling": {"rope_type": "linear", "factor": 2},
           "rope_parameters": {"rope_type": "linear", "factor": 3}})",
       Code::kBadData, "rope_scaling"},
      {R"({"rope_theta": 5, "rope_parameters": {"rope_theta": 6}})", Code::kBadData,
       "rope_theta is 5"},
      {R"({"rope_theta": 1})", Code::kBadData, "rope_theta is 1"},
      {R"({"rope_theta": -10000})", Code::kBadData, "rope_theta is -10000"},
      {R"({"rope_theta": "1e4"})", Code::kBadData, "rope_theta"},
      {R"({"rope_scaling": {"type": "linear"}})", Code::kBadData, "factor is missing"},
      {R"({"rope_scaling": {"type": "linear", "factor": 0}})", Code::kBadData, "factor is 0"},
      {R"({"rope_scaling": {"type": "linear", "factor": "2"}})", Code::kBadData, "factor"},
      {R"({"rope_scaling": {"type": "yarn", "factor": -1}})", Code::kBadData, "factor is -1"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 4, "beta_fast": -1}})", Code::kBadData,
       "beta_fast is -1"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 4, "truncate": 1}})", Code::kBadData,
       "truncate is 1"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 4, "attention_factor": 0}})", Code::kBadData,
       "attention_factor is 0"},
      {R"({"original_max_position_embeddings": 8, "rope_scaling": {"type": "yarn", "factor": 4,
           "original_max_position_embeddings": 16}})",
       Code::kBadData, "original_max_position_embeddings is 8"},
      {R"({"rope_scaling": {"type": "yarn", "factor": 4,
           "original_max_position_embeddings": 0}})",
       Code::kBadData, "original_max_position_embeddings is 0"},
      {R"({"rope_scaling": {"type": "llama3", "factor": 4, "low_freq_factor": 4,
           "high_freq_factor": 4}})",
       Code::kBadData, "high_freq_factor is 4"},
      {R"({"rope_scaling": {"type": "llama3", "factor": 4, "high_freq_factor": 4}})",
       Code::kBadData, "low_freq_factor is missing"},
      {R"({"rope_scaling": {"type": "llama3", "factor": 4, "low_freq_factor": 1}})", Code::kBadData,
       "high_freq_factor is missing"},
      {R"({"rope_scaling": {"type": "llama3", "low_freq_factor": 1, "high_freq_factor": 4}})",
       Code::kBadData, "factor is missing"},
  };
  for (const auto& [json, code, says] : cases) {
    const auto spec = read(json);
    ASSERT_FALSE(spec) << json;
    EXPECT_EQ(spec.error().code, code) << to_line(spec.error());
    EXPECT_THAT(to_line(spec.error()), HasSubstr(says));
  }
}

TEST(RopeWarnings, KeysOfOtherKindsHaveNoEffect) {
  std::vector<std::string> warnings;
  ASSERT_TRUE(read(R"({"rope_scaling": {"type": "linear", "factor": 2, "low_freq_factor": 1}})",
                   {32, 256, 10000}, &warnings));
  ASSERT_EQ(warnings.size(), 1u);
  EXPECT_THAT(warnings[0], HasSubstr("rope_scaling.low_freq_factor"));
  ASSERT_TRUE(read(R"({"rope_scaling": {"type": "linear", "rope_type": "linear", "factor": 2}})",
                   {32, 256, 10000}, &warnings));
  EXPECT_THAT(warnings, IsEmpty());
}

}  // namespace
}  // namespace switchyard
