#include "scheduler/memory_plan.h"

#include <fmt/format.h>

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr uint32_t kLogitsRowsMax = 16;
constexpr uint32_t kStagingMax = 8;

uint64_t fixed_bytes(const MemoryNeeds& needs) {
  return needs.dense_bytes + needs.kv_bytes + needs.kv_slots * needs.slot_bytes +
         needs.other_bytes + needs.activation_bytes;
}

// How many things of `each` bytes `bytes` pay for, at most `most`.
uint32_t affordable(uint64_t bytes, uint64_t each, uint32_t most) {
  return each == 0 ? most : static_cast<uint32_t>(std::min<uint64_t>(bytes / each, most));
}

tl::unexpected<Error> too_small(uint64_t given, const char* option, uint64_t needed) {
  return fail(
      Code::kNoMemory,
      fmt::format("{} {} is too small for this model and request", option, size_option(given)), {},
      fmt::format("{} {} does", option, size_option_rounded_up(needed)));
}

}  // namespace

uint64_t minimum_memory_bytes(const MemoryNeeds& needs) {
  return fixed_bytes(needs) + needs.chunk_min * needs.activation_row_bytes +
         needs.logits_row_bytes + needs.staging_bytes + needs.slots_min * needs.slot_bytes;
}

Result<MemoryPlan> plan_memory(const MemoryNeeds& needs, uint64_t budget_bytes) {
  CHECK(needs.chunk_min >= 1 && needs.chunk_wanted >= needs.chunk_min && needs.slots_min >= 1);
  const uint64_t minimum = minimum_memory_bytes(needs);
  if (budget_bytes < minimum) return too_small(budget_bytes, "--memory", minimum);
  if (needs.expert_bytes_max < needs.slots_min * needs.slot_bytes) {
    return too_small(needs.expert_bytes_max, "--expert-memory", needs.slots_min * needs.slot_bytes);
  }
  uint64_t spare = budget_bytes - minimum;
  const uint64_t slots_all =
      std::min<uint64_t>((needs.experts - needs.slots_min) * needs.slot_bytes,
                         needs.expert_bytes_max - needs.slots_min * needs.slot_bytes);
  // What buffers may take beside the slots: a quarter, or all that the slots cannot use.
  uint64_t for_buffers = std::max(spare / 4, spare - std::min(spare, slots_all));
  const auto take = [&](uint64_t most_bytes, uint64_t each, uint32_t most) {
    const uint32_t count = affordable(std::min(most_bytes, for_buffers), each, most);
    for_buffers -= count * each;
    spare -= count * each;
    return count;
  };

  MemoryPlan plan;
  plan.chunk = needs.chunk_min + take(for_buffers / 2, needs.activation_row_bytes,
                                      needs.chunk_wanted - needs.chunk_min);
  const uint32_t staging_max = std::min(kStagingMax, needs.experts);
  plan.staging =
      needs.staging_bytes == 0 ? 0 : 1 + take(for_buffers, needs.staging_bytes, staging_max - 1);
  plan.logits_rows = 1 + take(for_buffers, needs.logits_row_bytes, kLogitsRowsMax - 1);
  plan.slots = needs.slots_min + affordable(std::min(spare, slots_all), needs.slot_bytes,
                                            needs.experts - needs.slots_min);
  plan.budget_bytes = budget_bytes;
  plan.dense_bytes = needs.dense_bytes;
  plan.kv_bytes = needs.kv_bytes + needs.kv_slots * needs.slot_bytes;
  plan.kv_slots = needs.kv_slots;
  plan.other_bytes = needs.other_bytes;
  plan.activation_bytes = needs.activation_bytes + plan.chunk * needs.activation_row_bytes +
                          plan.logits_rows * needs.logits_row_bytes;
  plan.staging_bytes = plan.staging * needs.staging_bytes;
  plan.slots_bytes = plan.slots * needs.slot_bytes;
  CHECK(plan.total_bytes() <= budget_bytes);
  return plan;
}

}  // namespace switchyard
