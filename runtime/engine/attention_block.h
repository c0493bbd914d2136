#pragma once

#include <cstdint>
#include <span>

#include "runtime/engine/compute.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/kv_cache.h"
#include "runtime/engine/step_rows.h"
#include "runtime/engine/workspace.h"

namespace switchyard {

// The cosines and sines of the rows' positions, into workspace.cos and .sin.
void rope_angles(const Compute& compute, const ModelSpec& spec, std::span<const StepRow> rows,
                 Workspace& workspace);

// One layer's attention over workspace.normed: keys and values go to the cache, the output
// projection's rows to workspace.update. Returns the bytes of weights read.
uint64_t attention_block(const Compute& compute, const ModelSpec& spec, uint32_t layer,
                         const LayerWeights& weights, std::span<const StepRow> rows, KvCache& cache,
                         Workspace& workspace);

}  // namespace switchyard
