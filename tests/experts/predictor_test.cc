// Predictors that learn while the program runs, on routings whose right answer is known.

#include "experts/predictors/predictor.h"

#include <set>

#include "tests/experts/predictor_testing.h"

namespace switchyard {
namespace {

constexpr PredictorShape kShape = {.layers = 6, .experts = 32, .top_k = 3};

std::unique_ptr<Predictor> made(const std::string& name, const PredictorShape& shape = kShape) {
  return *make_predictor(name, shape);
}

TEST(Predictors, UnknownNameListsThoseThereAre) {
  const auto predictor = make_predictor("transitoin", kShape);
  ASSERT_FALSE(predictor);
  EXPECT_EQ(predictor.error().code, Code::kUsage);
  EXPECT_NE(predictor.error().hint.find("transition, token, history, linear"), std::string::npos);
}

TEST(Predictors, AFileThatNobodyReadsIsRefused) {
  for (const char* name : {"token:maps", "none:maps"}) {
    const auto predictor = make_predictor(name, kShape);
    ASSERT_FALSE(predictor);
    EXPECT_EQ(predictor.error().code, Code::kUsage);
  }
}

void expect_sound(const Predictor& predictor, const PredictorShape& shape, uint32_t layer,
                  uint32_t tokens, Prng& prng) {
  if (layer >= shape.layers) return;
  for (uint32_t token = 0; token < tokens; ++token) {
    const size_t most = prng.below(shape.experts + 3);
    const auto experts = predicted(predictor, layer, token, most);
    ASSERT_LE(experts.size(), most);
    ASSERT_EQ(std::set(experts.begin(), experts.end()).size(), experts.size());
    for (const uint16_t expert : experts) ASSERT_LT(expert, shape.experts);
  }
}

// A step of some tokens of a few requests; now and then a layer has no routes.
void random_step(Predictor& predictor, const PredictorShape& shape, Prng& prng) {
  std::vector<TokenId> tokens(1 + prng.below(prng.below(8) == 0 ? 40 : 4));
  std::vector<uint32_t> requests(tokens.size());
  for (TokenId& token : tokens) token = static_cast<TokenId>(prng.below(50)) - 1;
  for (uint32_t& request : requests) request = static_cast<uint32_t>(prng.below(30));
  const auto count = static_cast<uint32_t>(tokens.size());
  predictor.begin_step(tokens, requests);
  expect_sound(predictor, shape, 0, count, prng);
  expect_sound(predictor, shape, 1, count, prng);
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    if (prng.below(10) == 0) continue;
    std::vector<RoutedExpert> routed;
    for (uint32_t token = 0; token < count; ++token) {
      const auto route = random_route(shape, prng);
      routed.insert(routed.end(), route.begin(), route.end());
    }
    predictor.observe(layer, routed);
    expect_sound(predictor, shape, layer + 1, count, prng);
    expect_sound(predictor, shape, layer + 2, count, prng);
  }
}

class OnlinePredictors : public testing::TestWithParam<const char*> {};

TEST_P(OnlinePredictors, GuessDistinctExpertsInBoundedMemory) {
  Prng prng(1);
  for (const PredictorShape shape : {PredictorShape{1, 1, 1}, {2, 5, 5}, {5, 7, 3}, {4, 300, 8}}) {
    const auto predictor = made(GetParam(), shape);
    const uint64_t bytes = predictor->bytes();
    EXPECT_GT(bytes, 0u);
    for (int step = 0; step < 150; ++step) random_step(*predictor, shape, prng);
    EXPECT_EQ(predictor->bytes(), bytes);
  }
}

TEST_P(OnlinePredictors, GuessNothingOfWhatTheyNeverSaw) {
  const auto predictor = made(GetParam());
  const TokenId token = 7;
  const uint32_t request = 0;
  predictor->begin_step({&token, 1}, {&request, 1});
  EXPECT_TRUE(predicted(*predictor, 0, 0, 3).empty());
  EXPECT_TRUE(predicted(*predictor, 1, 0, 3).empty());
}

INSTANTIATE_TEST_SUITE_P(All, OnlinePredictors, testing::Values("transition", "token", "history"));

TEST(Transition, LearnsWhereExpertsLead) {
  Prng prng(2);
  const Leads leads = random_leads(kShape, prng);
  const auto predictor = made("transition");
  for (int i = 0; i < 400; ++i) learn(*predictor, -1, 0, led_routes(kShape, leads, prng));
  for (int i = 0; i < 20; ++i) {
    for (const uint32_t ahead : {1, 2}) {
      expect_foreseen(*predictor, 0, led_routes(kShape, leads, prng), ahead);
    }
  }
}

// Counts are 16 bits and rows are halved: new leads win over any number of old ones.
TEST(Transition, ForgetsOldLeads) {
  Prng prng(3);
  const PredictorShape shape = {.layers = 2, .experts = 4, .top_k = 1};
  const auto predictor = made("transition", shape);
  const auto step = [](uint16_t from, uint16_t to) {
    return std::vector<std::vector<RoutedExpert>>{{{from, 1}}, {{to, 1}}};
  };
  for (int i = 0; i < 200000; ++i) learn(*predictor, -1, 0, step(0, 1));
  for (int i = 0; i < 1500; ++i) learn(*predictor, -1, 0, step(0, 2));
  expect_foreseen(*predictor, 0, step(0, 2), 1);
}

TEST(Transition, BeforeTheFirstLayerWhatIsUsual) {
  const auto predictor = made("transition", {.layers = 2, .experts = 4, .top_k = 1});
  for (const uint16_t expert : {3, 1, 3, 2, 3}) {
    learn(*predictor, -1, 0, {{{expert, 1}}, {{static_cast<uint16_t>(3 - expert), 1}}});
  }
  const TokenId token = -1;
  const uint32_t request = 0;
  predictor->begin_step({&token, 1}, {&request, 1});
  EXPECT_EQ(predicted(*predictor, 0, 0, 4), (std::vector<uint16_t>{3, 2, 1}));
  EXPECT_EQ(predicted(*predictor, 1, 0, 1), std::vector<uint16_t>{0});
}

TEST(Transition, TablesAreBounded) {
  constexpr uint64_t kMiB = 1 << 20;
  EXPECT_GT(made("transition", {48, 512, 8})->bytes(), 48 * kMiB);   // both distances
  EXPECT_LT(made("transition", {100, 512, 8})->bytes(), 64 * kMiB);  // one
  EXPECT_GT(made("transition", {100, 512, 8})->bytes(), 50 * kMiB);
  EXPECT_LT(made("transition", {100, 4096, 8})->bytes(), 8 * kMiB);  // only what is usual
}

TEST(Token, RemembersTheFirstLayersOfEachToken) {
  Prng prng(4);
  const auto predictor = made("token");
  std::vector<std::vector<std::vector<RoutedExpert>>> routes;
  for (TokenId token = 0; token < 100; ++token) {
    learn(*predictor, token, 0, random_routes(kShape, prng));  // outdated by the next
    routes.push_back(random_routes(kShape, prng));
    learn(*predictor, token, 0, routes.back());
  }
  const uint32_t requests[] = {0, 0, 0};
  for (TokenId token = 0; token < 99; ++token) {
    const TokenId tokens[] = {token, -1, token + 1};
    predictor->begin_step(tokens, requests);
    for (uint32_t layer = 0; layer < 3; ++layer) {
      EXPECT_TRUE(same_experts(predicted(*predictor, layer, 0, 9), routes[token][layer]));
      EXPECT_TRUE(same_experts(predicted(*predictor, layer, 2, 9), routes[token + 1][layer]));
      EXPECT_TRUE(predicted(*predictor, layer, 1, 9).empty());
    }
    EXPECT_TRUE(predicted(*predictor, 3, 0, 9).empty());
    EXPECT_EQ(predicted(*predictor, 0, 0, 1).front(), routes[token][0].front().expert);
  }
}

TEST(Token, TheLatestTokensStay) {
  const PredictorShape shape = {.layers = 1, .experts = 64, .top_k = 1};
  const auto predictor = made("token", shape);
  const auto expert_of = [](TokenId token) { return static_cast<uint16_t>(token * 7 % 64); };
  constexpr TokenId kTokens = 60000;
  for (TokenId token = 0; token < kTokens; ++token) {
    learn(*predictor, token, 0, {{{expert_of(token), 1}}});
  }
  uint32_t known = 0;
  for (TokenId token = 0; token < kTokens; ++token) {
    const uint32_t request = 0;
    predictor->begin_step({&token, 1}, {&request, 1});
    const auto experts = predicted(*predictor, 0, 0, 1);
    EXPECT_TRUE(token < kTokens - 8000 || experts.size() == 1) << token;
    if (experts.empty()) continue;
    EXPECT_EQ(experts.front(), expert_of(token));
    known += 1;
  }
  EXPECT_EQ(known, 16384u);
}

TEST(History, FindsTheTokenThatWentTheSameWay) {
  Prng prng(5);
  const auto predictor = made("history");
  std::vector<std::vector<std::vector<RoutedExpert>>> cycle;
  for (int i = 0; i < 10; ++i) cycle.push_back(random_routes(kShape, prng));
  for (const auto& routes : cycle) learn(*predictor, -1, 4, routes);
  for (int round = 0; round < 200; ++round) {  // well past what is kept
    for (const auto& routes : cycle) expect_foreseen(*predictor, 4, routes, 1 + round % 2);
  }
}

TEST(History, IsTheRequestsOwn) {
  Prng prng(6);
  const auto predictor = made("history");
  auto one = random_routes(kShape, prng), other = random_routes(kShape, prng);
  other[0] = one[0];
  for (int i = 0; i < 3; ++i) {
    learn(*predictor, -1, 1, one);
    learn(*predictor, -1, 2, other);
  }
  for (const uint32_t ahead : {1, 2}) {
    expect_foreseen(*predictor, 1, one, ahead);
    expect_foreseen(*predictor, 2, other, ahead);
  }
}

TEST(History, BeforeTheFirstLayerTheLatestTokens) {
  Prng prng(7);
  const auto predictor = made("history");
  const auto first = random_routes(kShape, prng), last = random_routes(kShape, prng);
  for (int i = 0; i < 50; ++i) learn(*predictor, -1, 0, i < 25 ? first : last);
  const TokenId token = -1;
  const uint32_t request = 0;
  predictor->begin_step({&token, 1}, {&request, 1});
  EXPECT_TRUE(same_experts(predicted(*predictor, 0, 0, 3), last[0]));
  EXPECT_TRUE(same_experts(predicted(*predictor, 1, 0, 3), last[1]));
}

// The tokens of a prompt that are computed together are history for those that follow.
TEST(History, LearnsFromLargeSteps) {
  Prng prng(8);
  const auto predictor = made("history");
  const std::vector<TokenId> tokens(1500, -1);
  const std::vector<uint32_t> requests(1500, 3);
  std::vector<std::vector<RoutedExpert>> routed(kShape.layers), last;
  for (size_t i = 0; i < tokens.size(); ++i) {
    last = random_routes(kShape, prng);
    for (uint32_t layer = 0; layer < kShape.layers; ++layer) {
      routed[layer].insert(routed[layer].end(), last[layer].begin(), last[layer].end());
    }
  }
  predictor->begin_step(tokens, requests);
  for (uint32_t layer = 0; layer < kShape.layers; ++layer) predictor->observe(layer, routed[layer]);
  const TokenId token = -1;
  predictor->begin_step({&token, 1}, {requests.data(), 1});
  for (uint32_t layer = 0; layer < 4; ++layer) predictor->observe(layer, last[layer]);
  EXPECT_TRUE(same_experts(predicted(*predictor, 4, 0, 3), last[4]));
  EXPECT_TRUE(same_experts(predicted(*predictor, 5, 0, 3), last[5]));
}

TEST(History, MoreRequestsThanAreKept) {
  Prng prng(9);
  const auto predictor = made("history");
  const std::vector<TokenId> tokens(16 + 4, -1);
  std::vector<uint32_t> requests;
  for (uint32_t i = 0; i < tokens.size(); ++i) requests.push_back(100 + i);
  for (int step = 0; step < 2; ++step) {
    predictor->begin_step(tokens, requests);
    std::vector<RoutedExpert> routed;
    for (uint16_t i = 0; i < tokens.size(); ++i) {
      for (uint16_t slot = 0; slot < 3; ++slot)
        routed.push_back({static_cast<uint16_t>(i + slot), 1});
    }
    for (uint32_t layer = 0; layer < kShape.layers; ++layer) predictor->observe(layer, routed);
  }
  const auto knows = [&](uint32_t request) {
    const TokenId token = -1;
    predictor->begin_step({&token, 1}, {&request, 1});
    return !predicted(*predictor, 0, 0, 3).empty();
  };
  EXPECT_TRUE(knows(100) && knows(115));
  EXPECT_FALSE(knows(119));  // takes the place of the one that was unused longest
  EXPECT_FALSE(knows(101));
}

}  // namespace
}  // namespace switchyard
