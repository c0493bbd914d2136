#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "comm/slice_exchange.h"
#include "experts/expert_cache.h"
#include "runtime/base/result.h"
#include "runtime/engine/compute.h"
#include "runtime/engine/model_spec.h"
#include "runtime/engine/workspace.h"

namespace switchyard {

// What the leader of a group has to compute in a layer; the others have nothing of their own.
struct LeaderRows {
  uint32_t step = 0;
  uint16_t layer = 0;
  const float* x = nullptr;                     // rows …
  size_t stride = 0;                            // … so far apart
  std::span<const uint32_t> bucket_begin = {};  // [experts + 1] of each in workspace.bucket_row
};

// The experts of a layer where ranks compute them together, each its slice of every matrix, one
// expert after the other in ascending order.
class SlicedExperts {
 public:
  // Both outlive it.
  SlicedExperts(const ModelSpec& spec, SliceExchange& exchange)
      : spec_(spec), exchange_(exchange), tokens_(spec.moe.experts) {}

  // On all ranks of the group: the outputs of the leader's buckets come to lie in its
  // workspace.expert_rows, as those of whole experts do. `while_reading` is called once the first
  // expert is asked for. Adds the bytes of weights read to `weight_bytes`.
  Status compute(const Compute& compute, const LeaderRows& rows, ExpertCache& cache,
                 Workspace& workspace, uint64_t& weight_bytes,
                 const std::function<void()>& while_reading);

 private:
  Status compute_expert(const Compute& compute, const LeaderRows& rows, uint32_t begin,
                        uint32_t tokens, ExpertCache& cache, Workspace& workspace,
                        uint64_t& weight_bytes);

  const ModelSpec& spec_;
  SliceExchange& exchange_;
  std::vector<uint32_t> tokens_;  // [experts] of the layer
};

}  // namespace switchyard
