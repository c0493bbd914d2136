#include <gtest/gtest.h>

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
