#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/engine/compute.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/head_range.h"
#include "runtime/engine/kv_cache.h"
#include "runtime/engine/step_rows.h"
#include "runtime/engine/workspace.h"

namespace switchyard {

// The cosines and sines of the rows' positions, into workspace.cos and .sin.
void rope_angles(const Compute& compute, const ModelSpec& spec, std::span<const StepRow> rows,
                 Workspace& workspace);

// The part of an attention that is computed here.
struct AttentionPart {
  HeadRange heads;               // of KV; `cache` holds these alone
  std::vector<HeadRange> nodes;  // of the head tree, which make up `heads`
  std::vector<float*> outputs;   // [nodes] [rows][padded hidden] their output projections
  // Where a norm over the full width needs the other heads' sums of squares: fills in those of
  // [rows][q, k][kv heads] that are not of `heads`. Empty: all heads are here.
  std::function<Status(std::span<float>)> share_sums = {};
};

// One layer's attention over workspace.normed: keys and values go to the cache, the output
// projection's sums, without its bias, to the part's outputs. Adds the bytes of weights read to
// `weight_bytes`. Fails with share_sums alone.
Status attention_block(const Compute& compute, const ModelSpec& spec, uint32_t layer,
                       const LayerWeights& weights, std::span<const StepRow> rows,
                       const AttentionPart& part, KvCache& cache, Workspace& workspace,
                       uint64_t& weight_bytes);

}  // namespace switchyard
