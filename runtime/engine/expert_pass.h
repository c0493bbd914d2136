#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "comm/dispatch_plan.h"
#include "comm/expert_exchange.h"
#include "experts/expert_cache.h"
#include "runtime/base/result.h"
#include "runtime/engine/compute.h"
#include "runtime/engine/model_spec.h"
#include "runtime/engine/sliced_experts.h"
#include "runtime/engine/workspace.h"

namespace switchyard {

// What every pass of one layer has in common.
struct ExpertLayer {
  uint16_t layer = 0;
  std::span<const uint16_t> place_of;  // [experts] leaves of the expert tree
  std::span<const uint64_t> holders;   // [experts] ranks, a bit each
  std::span<const uint64_t> present;   // of them, those that have it in memory; empty: not known
};

// Some of a step's rows on their way through the experts of a layer: to the experts' ranks, where
// this rank computes its own for all of them, and back. The verbs are called in their order; those
// of two passes may take turns, so that one computes while the other's rows travel.
class ExpertPass {
 public:
  // `exchange` outlives the pass and is null where one rank is all there is, `sliced` where this
  // one computes whole experts.
  ExpertPass(const ModelSpec& spec, uint32_t rank, uint32_t ranks, ExpertExchange* exchange,
             SlicedExperts* sliced)
      : spec_(spec), rank_(rank), ranks_(ranks), exchange_(exchange), sliced_(sliced) {}

  // Rows [first, first + count) of workspace.normed, routed; begins to bring them where they are
  // needed. As ExpertExchange::dispatch().
  Status dispatch(const ExpertLayer& layer, const ExchangeStep& step, uint32_t first,
                  uint32_t count, const Workspace& workspace);
  // Until all rows to compute here have come. `before`: the pass whose leaves lie before these in
  // the workspace; null: none.
  Status wait_for_rows(const ExpertPass* before, Workspace& workspace);
  // Asks the cache for the experts, then computes them in the order in which they are ready.
  // `while_reading` is called in between. Adds the bytes of weights read to `weight_bytes`.
  Status compute(const Compute& compute, ExpertCache& cache, Workspace& workspace,
                 uint64_t& weight_bytes, const std::function<void()>& while_reading);
  // Sums the partials due here, and begins to return those of the others' rows.
  Status return_parts(const Compute& compute, Workspace& workspace);
  // Blocks for the own rows' partials; their sums go to workspace.update.
  Status combine(const Compute& compute, Workspace& workspace);

  // The owners with which a row of the pass would have travelled least, a bit each.
  uint64_t saving_owners(uint32_t row) const;
  uint32_t count() const { return plan_.rows(); }

 private:
  std::span<const PlannedPick> picks(uint32_t row) const;
  std::span<float*> parts_of(uint32_t row);
  void fill_buckets(Workspace& workspace);
  void compute_ready(const Compute& compute, const std::vector<ExpertLease>& leases,
                     Workspace& workspace, uint64_t& weight_bytes) const;
  void sum_row_parts(const Compute& compute, uint32_t row, Workspace& workspace);

  const ModelSpec& spec_;
  const uint32_t rank_, ranks_;
  ExpertExchange* const exchange_;
  SlicedExperts* const sliced_;
  ExpertLayer layer_;
  uint32_t step_ = 0;
  uint32_t first_ = 0;                  // own row
  DispatchPlan plan_;                   // of own rows
  const float* x_ = nullptr;            // rows to compute, own ones first
  size_t stride_ = 0;                   // of them
  uint32_t rows_ = 0;                   // so many
  uint32_t row_base_ = 0;               // rows of the pass before …
  uint32_t pick_base_ = 0;              // … and its leaves, which stay in the workspace
  std::vector<float*> own_parts_;       // [rows][top-k] where there is no exchange
  std::vector<uint32_t> bucket_begin_;  // [experts + 1], from pick_base_ on
  std::vector<uint16_t> active_;        // experts with tokens
};

}  // namespace switchyard
