#include "runtime/engine/sliced_experts.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/engine/products.h"

namespace switchyard {

Status SlicedExperts::compute(const Compute& compute, const LeaderRows& rows, ExpertCache& cache,
                              Workspace& workspace, uint64_t& weight_bytes,
                              const std::function<void()>& while_reading) {
  for (uint32_t expert = 0; expert < tokens_.size() && exchange_.leads(); ++expert) {
    tokens_[expert] = rows.bucket_begin[expert + 1] - rows.bucket_begin[expert];
  }
  TRY_STATUS(exchange_.begin(rows.step, rows.layer, tokens_));
  // As for whole experts.
  const auto active = tokens_.size() - static_cast<size_t>(std::ranges::count(tokens_, 0U));
  const bool overflows = active * spec_.sparse_layers() > cache.slots();
  const bool several = std::ranges::max(tokens_) > 1;
  const CachePath path = several && overflows ? CachePath::kSweep : CachePath::kKeep;
  uint32_t begin = 0;
  for (size_t at = 0; at < tokens_.size(); ++at) {
    if (tokens_[at] == 0) continue;
    const auto expert = static_cast<uint16_t>(at);
    cache.request(rows.layer, {&expert, 1}, path);
    if (begin == 0) while_reading();
    TRY_STATUS(
        compute_expert(compute, rows, begin, tokens_[expert], cache, workspace, weight_bytes));
    begin += tokens_[expert];
  }
  if (begin == 0) while_reading();
  return exchange_.end();
}

// The requested one, whose rows begin at `begin` of the workspace's.
Status SlicedExperts::compute_expert(const Compute& compute, const LeaderRows& rows, uint32_t begin,
                                     uint32_t tokens, ExpertCache& cache, Workspace& workspace,
                                     uint64_t& weight_bytes) {
  const uint32_t hidden = spec_.hidden, intermediate = spec_.moe.intermediate;
  const size_t hidden_stride = padded(hidden), inner_stride = padded(intermediate);
  float* const outputs = workspace.expert_rows + begin * hidden_stride;
  float* const inner = workspace.expert_inner + begin * inner_stride;
  float* const packed = workspace.expert_packed + begin * inner_stride;
  const float* x =
      TRY(exchange_.share_rows(tokens, rows.x, rows.stride, workspace.bucket_row + begin));
  pack_rows(compute.pool, compute.kernels, x, hidden, tokens, hidden, outputs);
  {
    const std::vector<ExpertLease> leases = TRY(cache.next());
    CHECK_THAT(leases.size() == 1, "{} leases on one expert", leases.size());
    const ExpertView& view = leases.front().view();
    CHECK(view.gate.rows == exchange_.inner_columns().rows());
    const Product gated = {.w = &view.gate,
                           .up = &view.up,
                           .packed = outputs,
                           .tokens = tokens,
                           .y = inner + exchange_.inner_columns().begin,
                           .y_stride = inner_stride};
    run_products(compute.pool, compute.kernels, {&gated, 1});
    TRY_STATUS(exchange_.share_inner(tokens, inner, inner_stride));
    pack_rows(compute.pool, compute.kernels, inner, inner_stride, tokens, intermediate, packed);
    const Product down = {.w = &view.down,
                          .packed = packed,
                          .tokens = tokens,
                          .y = outputs + exchange_.outer_columns().begin,
                          .y_stride = hidden_stride};
    run_products(compute.pool, compute.kernels, {&down, 1});
    weight_bytes += product_weight_bytes(gated) + product_weight_bytes(down);
  }
  const std::vector<ExpertLease> rest = TRY(cache.next());
  CHECK(rest.empty());  // the request is over
  return exchange_.collect(tokens, outputs, hidden_stride);
}

}  // namespace switchyard
