// Linear maps: fitted to a routing trace, kept in a file, and used as a predictor.

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "experts/predictors/linear_fit.h"
#include "experts/predictors/linear_predictor.h"
#include "tests/experts/predictor_testing.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

constexpr PredictorShape kShape = {.layers = 5, .experts = 16, .top_k = 2};

RoutingTrace trace_of(const PredictorShape& shape) {
  RoutingTrace trace;
  for (uint16_t layer = 0; layer < shape.layers; ++layer) trace.shape.layers.push_back(layer);
  trace.shape.experts = shape.experts;
  trace.shape.top_k = shape.top_k;
  return trace;
}

RoutingTrace led_trace(const Leads& leads, int tokens, Prng& prng) {
  RoutingTrace trace = trace_of(kShape);
  for (int i = 0; i < tokens; ++i) {
    RoutingStep step;
    step.tokens = {-1};
    for (const auto& route : led_routes(kShape, leads, prng)) {
      step.routed.insert(step.routed.end(), route.begin(), route.end());
    }
    trace.steps.push_back(step);
  }
  return trace;
}

// A map with numbers of its own everywhere.
LinearMap some_map() {
  Prng prng(1);
  LinearMap map = *LinearMap::create(kShape.layers, kShape.experts);
  for (float& weight : map.weights()) weight = static_cast<float>(prng.uniform() - 0.5);
  return map;
}

TEST(LinearFit, FindsWhereExpertsLead) {
  Prng prng(2);
  const Leads leads = random_leads(kShape, prng);
  const RoutingTrace trace = led_trace(leads, 500, prng);
  const LinearFit fit = *fit_linear_map(trace);
  EXPECT_EQ(fit.tokens_fitted, 400u);
  EXPECT_EQ(fit.tokens_held_out, 100u);
  EXPECT_EQ(fit.recall[0].slots, 100u * 4 * 2);
  EXPECT_EQ(fit.recall[0].share(), 1);
  EXPECT_EQ(fit.recall[1].slots, 100u * 3 * 2);
  EXPECT_EQ(fit.recall[1].share(), 1);
  LinearPredictor predictor(fit.map, kShape);
  for (int i = 0; i < 20; ++i) {
    for (const uint32_t ahead : {1, 2}) {
      expect_foreseen(predictor, 0, led_routes(kShape, leads, prng), ahead);
    }
  }
}

// One expert of two, which leads to its namesake, four tokens each: the constant takes the mean
// 0.5, and the rest ±0.5 is fitted by weights ±a that minimise 8 (a − 0.5)² + 0.3 · 2 a².
TEST(LinearFit, IsTheRidgeRegression) {
  RoutingTrace trace = trace_of({.layers = 2, .experts = 2, .top_k = 1});
  for (uint16_t i = 0; i < 10; ++i) {
    RoutingStep step;
    step.tokens = {-1};
    const auto expert = static_cast<uint16_t>(i % 2);
    step.routed = {{expert, 0.25F}, {expert, 0.5F}};
    trace.steps.push_back(step);
  }
  const LinearFit fit = *fit_linear_map(trace);
  const auto weights = fit.map.at(1, 1);
  const double a = 4 * 0.5 / (4 + 0.3);
  const double expected[] = {a, -a, -a, a, 0.5, 0.5};
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(weights[i], expected[i], 1e-5) << i;
}

TEST(LinearFit, IsTheSameEveryTimeAndPassesOverWhatWasNotRecorded) {
  Prng prng(3);
  const Leads leads = random_leads(kShape, prng);
  RoutingTrace trace = led_trace(leads, 300, prng);
  for (RoutingStep& step : trace.steps) {
    if (prng.below(4) == 0) step.routed[prng.below(kShape.layers) * 2].gate_weight = -1;
  }
  const LinearFit fit = *fit_linear_map(trace);
  EXPECT_EQ(fit.recall[0].share(), 1);
  EXPECT_LT(fit.recall[0].slots, 60u * 4 * 2);
  EXPECT_EQ(fit_linear_map(trace)->map.weights(), fit.map.weights());
}

TEST(LinearFit, SmallTracesAreRefused) {
  Prng prng(4);
  const Leads leads = random_leads(kShape, prng);
  EXPECT_EQ(fit_linear_map(led_trace(leads, 9, prng)).error().code, Code::kBadData);
  EXPECT_TRUE(fit_linear_map(led_trace(leads, 10, prng)));
}

TEST(LinearMapFile, ComesBackAsItWas) {
  const LinearMap map = some_map();
  const auto again = parse_linear_map(encode_linear_map(map), "file");
  ASSERT_TRUE(again);
  EXPECT_EQ(again->layers(), map.layers());
  EXPECT_EQ(again->experts(), map.experts());
  EXPECT_EQ(again->weights(), map.weights());
}

TEST(LinearMapFile, AnyCutAndAnyFlippedBitIsNoticed) {
  const std::string file = encode_linear_map(some_map());
  for (size_t size = 0; size < file.size(); size += size < 64 ? 1 : 97) {
    const auto cut = parse_linear_map(file.substr(0, size), "file");
    ASSERT_FALSE(cut) << size;
    EXPECT_EQ(cut.error().code, Code::kBadData);
    EXPECT_EQ(cut.error().where, "file");
  }
  EXPECT_EQ(parse_linear_map(file + '\0', "file").error().code, Code::kBadData);
  for (size_t at = 0; at < file.size(); at += at < 64 ? 1 : 97) {
    std::string flipped = file;
    flipped[at] = static_cast<char>(flipped[at] ^ 1 << at % 8);
    const auto map = parse_linear_map(flipped, "file");
    ASSERT_FALSE(map) << at;
    EXPECT_EQ(map.error().code, Code::kBadData);
  }
}

TEST(LinearMapFile, WeightsAreFinite) {
  for (const float weight : {std::numeric_limits<float>::infinity(), std::nanf("")}) {
    LinearMap map = some_map();
    map.weights()[5] = weight;
    const auto read = parse_linear_map(encode_linear_map(map), "file");
    ASSERT_FALSE(read);
    EXPECT_EQ(read.error().code, Code::kBadData);
  }
}

TEST(LinearMapFile, AnImpossibleShapeTakesNoMemory) {
  std::string file = encode_linear_map(some_map());
  const uint32_t huge = UINT32_MAX;
  std::memcpy(file.data() + 12, &huge, sizeof huge);
  std::memcpy(file.data() + 16, &huge, sizeof huge);
  EXPECT_EQ(parse_linear_map(file, "file").error().code, Code::kBadData);
  EXPECT_EQ(LinearMap::create(64, 4096).error().code, Code::kConfig);
}

TEST(Linear, ReadsItsFile) {
  const TempFolder folder;
  write_text(folder / "maps", encode_linear_map(some_map()));
  const auto predictor = make_predictor("linear:" + folder / "maps", kShape);
  ASSERT_TRUE(predictor) << to_line(predictor.error());
  EXPECT_GE((*predictor)->bytes(), some_map().bytes());
}

TEST(Linear, FailsByName) {
  const TempFolder folder;
  const std::string maps = folder / "maps", file = encode_linear_map(some_map());
  EXPECT_EQ(make_predictor("linear", kShape).error().code, Code::kUsage);
  EXPECT_EQ(make_predictor("linear:" + maps, kShape).error().code, Code::kNoInput);
  write_text(maps, file);
  const auto other = make_predictor("linear:" + maps, {.layers = 48, .experts = 128, .top_k = 8});
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kUsage);
  EXPECT_NE(other.error().what.find("5 layers of 16"), std::string::npos);
  EXPECT_NE(other.error().what.find("48 of 128"), std::string::npos);
  for (const std::string& bad : {file.substr(0, file.size() - 1), file + "x", file.substr(0, 9),
                                 std::string(), std::string("no map")}) {
    write_text(maps, bad);
    const auto predictor = make_predictor("linear:" + maps, kShape);
    ASSERT_FALSE(predictor);
    EXPECT_EQ(predictor.error().code, Code::kBadData);
    EXPECT_EQ(predictor.error().where, maps);
  }
}

TEST(Linear, GuessesDistinctExperts) {
  Prng prng(5);
  LinearPredictor predictor(some_map(), kShape);
  const TokenId tokens[] = {1, 2};
  const uint32_t requests[] = {0, 0};
  predictor.begin_step(tokens, requests);
  EXPECT_TRUE(predicted(predictor, 0, 0, 4).empty());
  EXPECT_TRUE(predicted(predictor, 1, 1, 4).empty());
  for (uint32_t layer = 0; layer + 2 < kShape.layers; ++layer) {
    std::vector<RoutedExpert> routed = random_route(kShape, prng);
    const auto second = random_route(kShape, prng);
    routed.insert(routed.end(), second.begin(), second.end());
    predictor.observe(layer, routed);
    for (const uint32_t token : {0, 1}) {
      for (const uint32_t ahead : {1, 2}) {
        auto experts = predicted(predictor, layer + ahead, token, 40);
        std::ranges::sort(experts);
        ASSERT_EQ(experts.size(), kShape.experts);
        for (uint16_t i = 0; i < kShape.experts; ++i) EXPECT_EQ(experts[i], i);
      }
    }
  }
}

}  // namespace
}  // namespace switchyard
