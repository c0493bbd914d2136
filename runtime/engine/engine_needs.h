#pragma once

// What an engine of one rank needs of memory, before anything is allocated. Pure but for the
// headers of the model's files.

#include <cstdint>
#include <memory>
#include <optional>

#include "comm/owner_exchange.h"
#include "comm/slice_exchange.h"
#include "experts/expert_source.h"
#include "runtime/base/result.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/kv_cache.h"
#include "runtime/engine/model_spec.h"
#include "scheduler/memory_plan.h"

namespace switchyard {

inline constexpr uint32_t kChunkDefault = 512;

// What this rank holds of the experts; null: all of the source's.
std::unique_ptr<ExpertSource> rank_experts(const ModelSource& source, const TeamOptions& team,
                                           const Placement& placement);
// How many that are at most, with the team's placement and any that may follow.
uint32_t experts_held_max(const ModelSource& source, const TeamOptions& team);

// The model as its keys and values see it: with the heads of this rank, of which a rank without any
// still counts one.
ModelSpec kv_spec(const ModelSpec& spec, const TeamOptions& team);
// That have their keys and values on one rank at most.
uint32_t sequences_here(const EngineOptions& options);
// Keys and values take slots from experts as they grow, unless the experts' share is given.
KvCache::Needs kv_needs(const ModelSource& source, const EngineOptions& options);

// Exchanges for steps of so many rows: of heads that are split, …
OwnerShape owner_shape(const ModelSpec& spec, uint32_t ranks, uint32_t rows);
// … and with the ranks that compute experts together with this one; none where it computes whole
// ones.
std::optional<SliceShape> slice_shape(const ModelSpec& spec, const TeamOptions& team,
                                      uint32_t rows);
// Half of so many rows, each rank's rounded down.
uint32_t second_pass_rows(uint32_t rows);

// `foresight_bytes`: of what guesses experts. The source's errors.
Result<MemoryNeeds> memory_needs(const ModelSource& source, const EngineOptions& options,
                                 uint64_t foresight_bytes);

}  // namespace switchyard
