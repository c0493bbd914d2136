#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/expert_order.h"
#include "experts/placement.h"
#include "runtime/base/result.h"
#include "runtime/engine/compute.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/expert_pass.h"
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
  // `placement` as the model's layers that have routers. `exchanges`, one for each pass that rows
  // may take together, two at most, outlive the block; one null where one rank is all there is. So
  // does `slices`, null where this rank computes whole experts.
  MoeBlock(const ModelSpec& spec, const ExpertOrder& order, const Placement& placement,
           uint32_t rank, std::span<ExpertExchange* const> exchanges, SliceExchange* slices);

  struct Calls {
    // Replaces what the router chose, [count, top-k]; may be empty.
    std::function<void(std::span<RoutedExpert>)> reroute;
    // Called when the misses are on their way and workspace.routed and .shared are done.
    std::function<void()> while_reading;
    // As ExpertLayer has it.
    std::span<const uint64_t> present = {};
  };
  // Over workspace.normed [count] (none is fine); the layer's output rows go to workspace.update.
  // Adds the bytes of weights read to `weight_bytes`. `exchange` says what the ranks bring;
  // `halves`: in two passes, of which one computes while the other travels. Errors name layer and
  // expert, or a rank.
  Status run(const Compute& compute, uint32_t layer, const LayerWeights& weights, uint32_t count,
             ExpertCache& cache, Workspace& workspace, uint64_t& weight_bytes, const Calls& calls,
             const ExchangeStep& exchange, bool halves);

  // The owners with which a row of the last run would have travelled least, a bit each.
  uint64_t saving_owners(uint32_t row) const;

  // Of a rank's rows, those of the first of two passes.
  static uint32_t first_half(uint32_t rows) { return rows - rows / 2; }

 private:
  void route(const Compute& compute, const LayerWeights& weights, uint32_t count,
             Workspace& workspace);
  std::vector<uint32_t> rows_of_passes(uint32_t count, bool halves) const;
  Status run_passes(const Compute& compute, uint32_t layer, const LayerWeights& weights,
                    uint32_t count, ExpertCache& cache, Workspace& workspace,
                    uint64_t& weight_bytes, const Calls& calls, const ExchangeStep& exchange,
                    bool halves);
  void compute_shared(const Compute& compute, const LayerWeights& weights, uint32_t count,
                      Workspace& workspace, uint64_t& weight_bytes) const;
  void add_shared(const Compute& compute, uint32_t count, Workspace& workspace) const;

  const ModelSpec& spec_;
  const Placement& placement_;
  std::vector<uint32_t> router_of_layer_;              // [layers] in the placement
  std::vector<std::vector<uint16_t>> leaf_of_expert_;  // [layers][expert] places in the trees
  std::optional<SlicedExperts> sliced_;
  std::vector<ExpertPass> passes_;
};

}  // namespace switchyard
