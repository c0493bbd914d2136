#include "launch/memory_fit.h"

#include <algorithm>

#include "experts/expert_source.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/kv_cache.h"
#include "runtime/engine/workspace.h"

namespace switchyard {
namespace {

constexpr uint32_t kChunkDefault = 512;

}  // namespace

Result<MemoryNeeds> engine_memory_needs(const ModelSource& source, const EngineOptions& options) {
  const ModelSpec& spec = source.spec();
  const ExpertSource& experts = source.experts();
  const uint64_t empty = Workspace::bytes(spec, 0, 0);
  MemoryNeeds needs;
  needs.dense_bytes = TRY(DenseWeights::bytes(source));
  needs.kv_bytes = KvCache::bytes(spec, options.context, options.sequences);
  needs.other_bytes = options.other_bytes;
  needs.activation_bytes = empty;
  needs.activation_row_bytes = Workspace::bytes(spec, 1, 0) - empty;
  needs.logits_row_bytes = Workspace::bytes(spec, 0, 1) - empty;
  needs.slot_bytes = experts.layout().slot_bytes();
  needs.staging_bytes = experts.direct() ? 0 : experts.staging_bytes();
  needs.experts = static_cast<uint32_t>(experts.keys().size());
  needs.slots_min = spec.moe.top_k;
  needs.chunk_min = options.sequences;
  const uint32_t chunk = std::min(options.chunk == 0 ? kChunkDefault : options.chunk,
                                  options.context * options.sequences);
  needs.chunk_wanted = std::max(chunk, needs.chunk_min);
  needs.expert_bytes_max = options.expert_bytes_max;
  return needs;
}

}  // namespace switchyard
