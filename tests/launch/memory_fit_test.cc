#include "launch/memory_fit.h"

#include <gtest/gtest.h>

#include "runtime/engine/engine.h"

namespace switchyard {
namespace {

TEST(MemoryFit, IsWhatTheEngineAsksFor) {
  const auto source = ModelSource::open(SWITCHYARD_TEST_DATA "/fixtures/qwen2_moe");
  ASSERT_TRUE(source) << to_line(source.error());
  EngineOptions options;
  options.context = 32;
  options.other_bytes = 1000;
  const auto needs = engine_memory_needs(**source, options);
  ASSERT_TRUE(needs) << to_line(needs.error());
  options.memory_bytes = minimum_memory_bytes(*needs);
  const auto engine = Engine::create(**source, options, {});
  ASSERT_TRUE(engine) << to_line(engine.error());
  EXPECT_EQ((*engine)->memory_plan().total_bytes(), options.memory_bytes);
  options.memory_bytes -= 1;
  const auto refused = Engine::create(**source, options, {});
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kNoMemory);
}

}  // namespace
}  // namespace switchyard
