#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "runtime/engine/engine.h"

namespace switchyard {
namespace {

TEST(EngineMemory, TheMinimumIsAcceptedAndNotAByteLess) {
  const auto source = ModelSource::open(SWITCHYARD_TEST_DATA "/fixtures/qwen2_moe");
  ASSERT_TRUE(source) << to_line(source.error());
  EngineOptions options;
  options.context = 32;
  options.other_bytes = 1000;
  options.memory_bytes = Engine::minimum_bytes(**source, options).value();
  const auto engine = Engine::create(**source, options, {});
  ASSERT_TRUE(engine) << to_line(engine.error());
  EXPECT_EQ((*engine)->memory_plan().total_bytes(), options.memory_bytes);
  options.memory_bytes -= 1;
  const auto refused = Engine::create(**source, options, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kNoMemory);
}

// A model at a budget that holds a part of its experts and a context whose keys and values are as
// large as dozens of them.
TEST(EngineMemory, SlotsGoToKeysAndValuesAndComeBack) {
  const auto source = ModelSource::open(SWITCHYARD_TEST_DATA "/fixtures/qwen3_moe").value();
  EngineOptions options;
  options.context = 128;
  options.sequences = 2;
  options.memory_bytes = Engine::minimum_bytes(*source, options).value();
  const auto engine = Engine::create(*source, options, {}).value();
  const uint32_t kv_slots = engine->memory_plan().kv_slots;
  EXPECT_GT(kv_slots, 20u);
  EXPECT_EQ(engine->counters().expert_slots, engine->memory_plan().slots + kv_slots);
  std::vector<SequenceId> sequences;
  for (uint32_t i = 0; i < options.sequences; ++i) {
    sequences.push_back(engine->open_sequence().value());
    while (engine->positions(sequences[i]) < options.context) {
      const uint32_t left = options.context - engine->positions(sequences[i]);
      const StepPart part{sequences[i],
                          std::vector<TokenId>(std::min(left, engine->memory_plan().chunk), 65),
                          LogitsWanted::kNone};
      ASSERT_TRUE(engine->step({{part}}, {}));
      EXPECT_GE(engine->counters().expert_slots, engine->memory_plan().slots);
    }
  }
  EXPECT_EQ(engine->counters().expert_slots, engine->memory_plan().slots);
  EXPECT_EQ(Engine::kv_slots(*source, options, options.context), kv_slots);
  for (const SequenceId sequence : sequences) engine->close_sequence(sequence);
  EXPECT_EQ(engine->counters().expert_slots, engine->memory_plan().slots + kv_slots);
}

TEST(EngineMemory, AShareGivenToExpertsIsTheirs) {
  const auto source = ModelSource::open(SWITCHYARD_TEST_DATA "/fixtures/qwen3_moe").value();
  EngineOptions options;
  options.context = 512;
  options.memory_bytes = 64 << 20;
  options.expert_bytes_max = 20 * source->experts().slot_bytes();
  const auto engine = Engine::create(*source, options, {}).value();
  EXPECT_EQ(engine->memory_plan().kv_slots, 0u);
  EXPECT_EQ(engine->counters().expert_slots, 20u);
}

TEST(EngineMemory, PlanIsWhatCreateDoes) {
  const auto source = ModelSource::open(SWITCHYARD_TEST_DATA "/fixtures/olmoe").value();
  EngineOptions options;
  options.context = 64;
  options.sequences = 3;
  options.memory_bytes = 4 << 20;
  const MemoryPlan plan = Engine::plan(*source, options).value();
  const auto engine = Engine::create(*source, options, {}).value();
  EXPECT_EQ(engine->memory_plan().total_bytes(), plan.total_bytes());
  EXPECT_EQ(engine->memory_plan().slots, plan.slots);
  EXPECT_LE(plan.total_bytes(), options.memory_bytes);
}

}  // namespace
}  // namespace switchyard
