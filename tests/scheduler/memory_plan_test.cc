#include "scheduler/memory_plan.h"

#include <gtest/gtest.h>

#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr uint64_t kMiB = 1 << 20;

MemoryNeeds some_needs() {
  MemoryNeeds needs;
  needs.dense_bytes = 10 * kMiB;
  needs.kv_bytes = 5 * kMiB;
  needs.other_bytes = kMiB;
  needs.activation_bytes = 4096;
  needs.activation_row_bytes = 64 << 10;
  needs.logits_row_bytes = 128 << 10;
  needs.slot_bytes = kMiB;
  needs.staging_bytes = kMiB + 8192;
  needs.experts = 256;
  needs.slots_min = 4;
  needs.chunk_wanted = 512;
  needs.chunk_min = 1;
  return needs;
}

TEST(MemoryPlan, SpendsNoMoreThanTheBudgetAndAlwaysEnough) {
  const MemoryNeeds needs = some_needs();
  const uint64_t minimum = minimum_memory_bytes(needs);
  uint32_t slots = 0;
  for (uint64_t budget = minimum; budget < 600 * kMiB; budget += 1'234'567) {
    const MemoryPlan plan = plan_memory(needs, budget).value();
    EXPECT_LE(plan.total_bytes(), budget);
    EXPECT_GE(plan.slots, needs.slots_min);
    EXPECT_LE(plan.slots, needs.experts);
    EXPECT_GE(plan.chunk, 1u);
    EXPECT_GE(plan.logits_rows, 1u);
    EXPECT_GE(plan.staging, 1u);
    EXPECT_GE(plan.slots + 2, slots) << "more memory never costs many slots";
    slots = plan.slots;
  }
  EXPECT_EQ(slots, 256u) << "at last everything fits";
  EXPECT_EQ(plan_memory(needs, 600 * kMiB).value().chunk, 512u);
}

TEST(MemoryPlan, RefusesLessThanTheMinimumAndNamesWhatDoes) {
  const MemoryNeeds needs = some_needs();
  const uint64_t minimum = minimum_memory_bytes(needs);
  const auto refused = plan_memory(needs, minimum - 1);
  ASSERT_FALSE(refused.has_value());
  EXPECT_EQ(refused.error().code, Code::kNoMemory);
  EXPECT_NE(refused.error().hint.find(size_option_rounded_up(minimum)), std::string::npos);
  EXPECT_TRUE(plan_memory(needs, parse_size(size_option_rounded_up(minimum)).value()).has_value());
}

TEST(MemoryPlan, HoldsExpertsToTheirShare) {
  MemoryNeeds needs = some_needs();
  needs.expert_bytes_max = 10 * kMiB;
  EXPECT_EQ(plan_memory(needs, 600 * kMiB).value().slots, 10u);
  needs.expert_bytes_max = 4 * kMiB - 1;
  EXPECT_EQ(plan_memory(needs, 600 * kMiB).error().code, Code::kNoMemory);
}

TEST(MemoryPlan, NeedsNoStagingForAPack) {
  MemoryNeeds needs = some_needs();
  needs.staging_bytes = 0;
  EXPECT_EQ(plan_memory(needs, 100 * kMiB).value().staging, 0u);
}

}  // namespace
}  // namespace switchyard
