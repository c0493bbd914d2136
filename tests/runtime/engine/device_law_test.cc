// The law over tiers: one hash of logits wherever experts lie and whenever they are copied.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "experts/expert_source.h"
#include "runtime/base/hash.h"
#include "runtime/device/simulated_device.h"
#include "runtime/engine/engine.h"

namespace switchyard {
namespace {

constexpr uint32_t kPrompt = 14, kChunk = 7, kDecode = 24;

// Where the link is slow, experts are copied after their use; where it is quicker than computing
// them in host memory, before it.
struct Setting {
  std::string name;
  uint32_t experts = 0;  // that the device holds; 0: there is none
  double link = 0, latency = 0;
  double memory = 0;  // what the host's is taken for
  std::string policy = "lru";
};

std::vector<Setting> settings() {
  return {
      {"none"},
      {"small, slow", 2, 1e9, 20e-6, 1e7},
      {"small, late", 3, 1e10, 2e-3, 1e7},
      {"small, quick", 2, 1e9, 0, 1e6},
      {"large, slow", 1000, 1e8, 5e-6, 5e6, "decayed-lfu"},
      {"large, quick", 1000, 1e10, 1e-6, 1e6},
      {"large, as it is", 1000, 16e9, 10e-6, 0},
  };
}

struct Outcome {
  std::string hash;
  EngineCounters counters;
};

EngineOptions options_of(const ModelSource& source, const Setting& setting, double share) {
  const ExpertSource& experts = source.experts();
  const double all = static_cast<double>(experts.keys().size() * experts.slot_bytes());
  EngineOptions options;
  options.memory_bytes = uint64_t{1} << 30;
  options.expert_bytes_max =
      std::max(source.spec().moe.top_k * experts.slot_bytes(), static_cast<uint64_t>(share * all));
  options.context = kPrompt + kDecode;
  options.chunk = kChunk;
  options.threads = 2;
  options.policy = setting.policy;
  options.memory_bytes_per_second = setting.memory;
  if (setting.experts > 0) {
    options.device = std::make_shared<SimulatedDevice>(
        setting.experts * experts.slot_bytes(),
        SimulatedLink{.bytes_per_second = setting.link, .latency_seconds = setting.latency});
  }
  return options;
}

Result<Outcome> run(const ModelSource& source, const Setting& setting, double share) {
  const auto engine = TRY(Engine::create(source, options_of(source, setting, share), {}));
  const SequenceId sequence = TRY(engine->open_sequence());
  Hasher hasher;
  TokenId next = 1;
  const auto sink = [&](SequenceId, uint32_t, std::span<const float> row) {
    hasher.update(std::as_bytes(row));
    next = static_cast<TokenId>(std::ranges::max_element(row) - row.begin());
  };
  for (uint32_t fed = 0; fed < kPrompt + kDecode;) {
    StepPart part{sequence, {next}, LogitsWanted::kAll};
    if (fed < kPrompt) {
      part.tokens.clear();
      for (uint32_t i = 0; i < kChunk; ++i) {
        part.tokens.push_back(static_cast<TokenId>((7 * (fed + i) + 3) % source.spec().vocab));
      }
    }
    fed += static_cast<uint32_t>(part.tokens.size());
    TRY_STATUS(engine->step({{part}}, sink));
  }
  return Outcome{hash_hex(hasher.digest()), engine->counters()};
}

class DeviceLaw : public testing::TestWithParam<std::string> {};

INSTANTIATE_TEST_SUITE_P(Models, DeviceLaw, testing::Values("mixtral", "qwen2_moe", "olmoe"),
                         [](const auto& info) { return info.param; });

TEST_P(DeviceLaw, OneHashOverDevicesAndBudgets) {
  const auto source = *ModelSource::open(SWITCHYARD_TEST_DATA "/fixtures/" + GetParam());
  const auto expected = run(*source, {}, 1);
  ASSERT_TRUE(expected) << to_line(expected.error());
  const uint64_t uses = expected->counters.expert_hits;
  for (const Setting& setting : settings()) {
    uint64_t device_hits = 0;
    for (const double share : {0.0, 0.3, 1.0}) {
      const auto outcome = run(*source, setting, share);
      ASSERT_TRUE(outcome) << to_line(outcome.error());
      const std::string where = fmt::format("{}, {:.0f} %", setting.name, 100 * share);
      EXPECT_EQ(outcome->hash, expected->hash) << where;
      const EngineCounters& counters = outcome->counters;
      EXPECT_EQ(counters.expert_hits + counters.expert_misses, uses) << where;
      EXPECT_EQ(counters.device.copies_failed, 0u) << where;
      device_hits += counters.device.hits;
    }
    EXPECT_EQ(device_hits > 0, setting.experts > 0) << setting.name;
  }
}

}  // namespace
}  // namespace switchyard
