#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "comm/dispatch_plan.h"
#include "comm/expert_exchange.h"
#include "experts/expert_cache.h"
#include "experts/expert_order.h"
#include "experts/placement.h"
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

// The routed experts of one layer: which tokens go where, and the sum of what comes back. With
// ranks, this one computes its experts for all of them.
class MoeBlock {
 public:
  // `placement` as the model's layers that have routers; `exchange` outlives the block and is null
  // where one rank is all there is.
  MoeBlock(const ModelSpec& spec, const ExpertOrder& order, const Placement& placement,
           uint32_t rank, ExpertExchange* exchange);

  struct Calls {
    // Replaces what the router chose, [count, top-k]; may be empty.
    std::function<void(std::span<RoutedExpert>)> reroute;
    // Called when the misses are on their way and workspace.routed and .shared are done.
    std::function<void()> while_reading;
  };
  // Over workspace.normed [count] (none is fine); the layer's output rows go to workspace.update.
  // Adds the bytes of weights read to `weight_bytes`. `exchange` says what the ranks bring. Errors
  // name layer and expert, or a rank.
  Status run(const Compute& compute, uint32_t layer, const LayerWeights& weights, uint32_t count,
             ExpertCache& cache, Workspace& workspace, uint64_t& weight_bytes, const Calls& calls,
             const ExchangeStep& exchange);

  // With which owners a row of the last run, which was of `layer`, would have travelled least, a
  // bit each.
  uint64_t saving_owners(uint32_t layer, uint32_t row) const;

 private:
  // The rows whose experts are computed here, this rank's own first.
  struct Rows {
    const float* x = nullptr;
    size_t stride = 0;
    uint32_t count = 0;
  };
  std::span<float*> parts_of(uint32_t row);
  std::span<const PlannedPick> picks(uint32_t row) const;
  void route(const Compute& compute, const LayerWeights& weights, uint32_t count,
             Workspace& workspace);
  void plan(uint32_t layer, uint32_t count, const Workspace& workspace);
  Status bring_rows(const ExchangeStep& step, const Workspace& workspace);
  void fill_buckets(Workspace& workspace);
  void request(uint32_t layer, ExpertCache& cache) const;
  Status compute_experts(const Compute& compute, ExpertCache& cache, Workspace& workspace,
                         uint64_t& weight_bytes);
  void sum_row_parts(const Compute& compute, uint32_t row, Workspace& workspace);
  Status combine(const Compute& compute, Workspace& workspace);
  void compute_shared(const Compute& compute, const LayerWeights& weights, uint32_t count,
                      Workspace& workspace, uint64_t& weight_bytes) const;
  void add_shared(const Compute& compute, uint32_t count, Workspace& workspace) const;

  const ModelSpec& spec_;
  const Placement& placement_;
  const uint32_t rank_;
  ExpertExchange* const exchange_;
  std::vector<uint32_t> router_of_layer_;              // [layers] in the placement
  std::vector<std::vector<uint16_t>> leaf_of_expert_;  // [layers][expert] places in the trees
  DispatchPlan plan_;                                  // of this rank's own rows
  Rows rows_;
  std::vector<float*> own_parts_;       // [rows][top-k] where there is no exchange
  std::vector<uint32_t> bucket_begin_;  // [experts + 1]
  std::vector<uint16_t> active_;        // experts with tokens
};

}  // namespace switchyard
