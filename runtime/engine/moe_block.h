#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/expert_order.h"
#include "runtime/base/result.h"
#include "runtime/engine/compute.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/workspace.h"

namespace switchyard {

// One dense MLP, or a shared expert without its gate, over `packed` rows of hidden: down ·
// (silu(gate x) ⊙ up x) into y [count][padded hidden]. Leaves other rows in workspace.packed.
// Returns the bytes of weights read.
uint64_t dense_mlp(const Compute& compute, const ModelSpec& spec, const LayerWeights& weights,
                   uint32_t count, Workspace& workspace, float* y);

// The routed experts of one layer: which tokens go where, and the sum of what comes back.
class MoeBlock {
 public:
  MoeBlock(const ModelSpec& spec, const ExpertOrder& order);

  struct Calls {
    // Replaces what the router chose, [count, top-k]; may be empty.
    std::function<void(std::span<RoutedExpert>)> reroute;
    // Called when the misses are on their way and workspace.routed and .shared are done.
    std::function<void()> while_reading;
  };
  // Over workspace.normed [count]; the layer's output rows go to workspace.update. Adds the bytes
  // of weights read to `weight_bytes`. Errors name layer and expert.
  Status run(const Compute& compute, uint32_t layer, const LayerWeights& weights, uint32_t count,
             ExpertCache& cache, Workspace& workspace, uint64_t& weight_bytes, const Calls& calls);

 private:
  void route(const Compute& compute, const LayerWeights& weights, uint32_t count,
             Workspace& workspace);
  void fill_buckets(uint32_t count, Workspace& workspace);
  void request(uint32_t layer, uint32_t count, ExpertCache& cache) const;
  Status compute_experts(const Compute& compute, ExpertCache& cache, Workspace& workspace,
                         uint64_t& weight_bytes);
  void combine(const Compute& compute, uint32_t layer, uint32_t count, Workspace& workspace) const;
  void compute_shared(const Compute& compute, const LayerWeights& weights, uint32_t count,
                      Workspace& workspace, uint64_t& weight_bytes) const;
  void add_shared(const Compute& compute, uint32_t count, Workspace& workspace) const;

  const ModelSpec& spec_;
  std::vector<std::vector<uint16_t>> leaf_of_expert_;  // [layers][expert] places in the trees
  std::vector<uint32_t> bucket_begin_;                 // [experts + 1]
  std::vector<uint16_t> active_;                       // experts with tokens
};

}  // namespace switchyard
