// A step that is stopped between layers leaves no trace.

#include <gtest/gtest.h>

#include "runtime/base/hash.h"
#include "tests/e2e/models.h"

namespace switchyard {
namespace {

uint64_t hash_of_step(Engine& engine, SequenceId sequence) {
  Hasher hasher;
  StepPlan plan;
  plan.parts.push_back({sequence, {5, 6, 7}, LogitsWanted::kAll});
  EXPECT_TRUE(engine.step(plan, [&](SequenceId, uint32_t, std::span<const float> logits) {
    hasher.update(std::as_bytes(logits));
  }));
  return hasher.digest();
}

TEST(EngineStop, EndsBetweenLayersAndGoesOnAsIfNothingWere) {
  EngineOptions options;
  options.memory_bytes = uint64_t{64} << 20;
  options.context = 16;
  const ModelSource& source = open_model(test_model("demo"), "folder");
  const auto engine = Engine::create(source, options, {}).value();
  const SequenceId first = *engine->open_sequence();
  const uint64_t expected = hash_of_step(*engine, first);
  engine->close_sequence(first);

  const SequenceId sequence = *engine->open_sequence();
  size_t asked = 0;
  engine->set_stop([&] { return ++asked == 2; });
  StepPlan plan;
  plan.parts.push_back({sequence, {9, 8}, LogitsWanted::kLast});
  const Status stopped =
      engine->step(plan, [](SequenceId, uint32_t, std::span<const float>) { FAIL(); });
  ASSERT_FALSE(stopped);
  EXPECT_EQ(stopped.error().code, Code::kStopped);
  EXPECT_EQ(asked, 2U);
  EXPECT_EQ(engine->positions(sequence), 0U);
  engine->set_stop({});
  EXPECT_EQ(hash_of_step(*engine, sequence), expected);
}

}  // namespace
}  // namespace switchyard
