// Every model against the reference implementation's logits and greedy continuation.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstdio>

#include "tests/e2e/models.h"

namespace switchyard {
namespace {

constexpr double kErrorRatioMax = 2e-5;

class Reference : public testing::TestWithParam<std::tuple<TestModel, const char*>> {};

struct Computed {
  std::vector<float> logits;  // of the prompt
  std::vector<TokenId> greedy;
};

Computed compute(const ModelSource& source, const Expected& expected) {
  EngineOptions options;
  options.memory_bytes = uint64_t{1} << 30;
  options.threads = 2;
  options.context = static_cast<uint32_t>(expected.input_ids.size() + expected.greedy.size());
  const auto engine = Engine::create(source, options, {});
  if (!engine) throw std::runtime_error(to_line(engine.error()));
  const SequenceId sequence = (*engine)->open_sequence().value();
  Computed computed;
  TokenId next = 0;
  StepPlan plan;
  plan.parts.push_back({sequence, expected.input_ids, LogitsWanted::kAll});
  bool prompt = true;
  const auto sink = [&](SequenceId, uint32_t, std::span<const float> row) {
    if (prompt) computed.logits.insert(computed.logits.end(), row.begin(), row.end());
    next = argmax(row);
  };
  while (computed.greedy.size() < expected.greedy.size()) {
    const Status done = (*engine)->step(plan, sink);
    if (!done) throw std::runtime_error(to_line(done.error()));
    prompt = false;
    computed.greedy.push_back(next);
    plan.parts[0].tokens = {next};
  }
  return computed;
}

double error_ratio(const std::vector<float>& logits, const std::vector<float>& expected) {
  double error = 0, largest = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double difference = std::abs(double{logits[i]} - double{expected[i]});
    error = difference <= error ? error : difference;  // a NaN shows
    largest = std::max(largest, std::abs(double{expected[i]}));
  }
  return error / largest;
}

TEST_P(Reference, LogitsAndGreedyContinuationAgree) {
  const auto& [model, kind] = GetParam();
  const Expected expected = read_expected(model);
  ASSERT_FALSE(expected.greedy.empty());
  const Computed computed = compute(open_model(model, kind), expected);
  ASSERT_EQ(computed.logits.size(), expected.logits.size());
  const double ratio = error_ratio(computed.logits, expected.logits);
  std::printf("%s, %s: max |difference| / max |logit| = %.2g\n", model.name.c_str(), kind, ratio);
  EXPECT_LE(ratio, kErrorRatioMax);
  EXPECT_THAT(computed.greedy, testing::ElementsAreArray(expected.greedy));
}

INSTANTIATE_TEST_SUITE_P(All, Reference,
                         testing::Combine(testing::ValuesIn(test_models()),
                                          testing::Values("folder", "pack")),
                         [](const auto& test) {
                           return test_name(std::get<0>(test.param).name) + "_" +
                                  std::get<1>(test.param);
                         });

}  // namespace
}  // namespace switchyard
