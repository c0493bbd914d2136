// The law over what decides when experts are read and which of them stay: one hash of logits over
// every policy, predictor and capacity, on a drive that is late and fails now and then.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "experts/expert_source.h"
#include "experts/policies/registry.h"
#include "experts/predictors/registry.h"
#include "runtime/base/hash.h"
#include "tests/e2e/models.h"

namespace switchyard {
namespace {

constexpr size_t kPrompt = 16;
constexpr size_t kGreedy = 8;
constexpr size_t kChunk = 7;

// "a, b, c" without those that need what this test has not: the future, or a file.
std::vector<std::string> names_of(std::string list) {
  std::vector<std::string> names;
  while (!list.empty()) {
    const size_t comma = list.find(", ");
    const std::string name = list.substr(0, comma);
    if (name != "linear") names.push_back(name);
    list = comma == std::string::npos ? "" : list.substr(comma + 2);
  }
  return names;
}

struct Setting {
  std::string policy = "lru";
  std::string predictor = "none";
  double share = 1;  // of the experts that fit
  std::string faults;
};

Result<std::string> hash_of(const TestModel& model, const Setting& setting) {
  const ModelSource& source = open_model(model, "pack");
  const ExpertSource& experts = source.experts();
  EngineOptions options;
  options.memory_bytes = uint64_t{1} << 30;
  const double all = static_cast<double>(experts.keys().size() * experts.slot_bytes());
  options.expert_bytes_max = std::max(source.spec().moe.top_k * experts.slot_bytes(),
                                      static_cast<uint64_t>(setting.share * all));
  options.context = kPrompt + kGreedy;
  options.policy = setting.policy;
  options.predictor = setting.predictor;
  options.faults = setting.faults;
  const auto engine = TRY(Engine::create(source, options, {}));
  const SequenceId sequence = TRY(engine->open_sequence());
  std::vector<TokenId> prompt = read_expected(model).input_ids;
  prompt.resize(kPrompt);
  Hasher hasher;
  TokenId next = 0;
  const auto sink = [&](SequenceId, uint32_t, std::span<const float> row) {
    hasher.update(std::as_bytes(row));
    next = argmax(row);
  };
  for (size_t fed = 0; fed < kPrompt + kGreedy;) {
    StepPart part{sequence, {next}, LogitsWanted::kAll};
    if (fed < kPrompt) {
      const size_t count = std::min(kChunk, kPrompt - fed);
      const auto begin = prompt.begin() + static_cast<ptrdiff_t>(fed);
      part.tokens.assign(begin, begin + static_cast<ptrdiff_t>(count));
    }
    fed += part.tokens.size();
    TRY_STATUS(engine->step({{part}}, sink));
  }
  return hash_hex(hasher.digest());
}

class Law : public testing::TestWithParam<TestModel> {
 protected:
  void SetUp() override { expected_ = *hash_of(GetParam(), {}); }

  void check(const Setting& setting) {
    const auto hash = hash_of(GetParam(), setting);
    const std::string where = fmt::format("{}, {}, {:.0f} %, faults '{}'", setting.policy,
                                          setting.predictor, 100 * setting.share, setting.faults);
    ASSERT_TRUE(hash) << where << ": " << to_line(hash.error());
    EXPECT_EQ(*hash, expected_) << where;
    ++settings_;
  }

  std::string expected_;
  int settings_ = 0;
};

TEST_P(Law, OneHashOverPoliciesPredictorsAndCapacities) {
  for (const std::string& policy : names_of(policy_names(false))) {
    for (const std::string& predictor : names_of(predictor_names())) {
      for (const double share : {0.0, 0.25}) check({policy, predictor, share, ""});
    }
  }
  std::printf("%s: %d settings, logits %s\n", GetParam().name.c_str(), settings_,
              expected_.c_str());
}

TEST_P(Law, OneHashOnALateAndFailingDrive) {
  for (const std::string& predictor : names_of(predictor_names())) {
    for (const double share : {0.0, 0.25}) {
      check({std::string(kPolicyDefault), predictor, share, "1,delay=0.02"});
      check({std::string(kPolicyDefault), predictor, share, "2,eio=0.002,bit-flip=0.002"});
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, Law, testing::ValuesIn(test_models()),
                         [](const auto& test) { return test_name(test.param.name); });

}  // namespace
}  // namespace switchyard
