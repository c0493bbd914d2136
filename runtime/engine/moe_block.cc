#include "runtime/engine/moe_block.h"

#include "experts/router.h"
#include "runtime/base/check.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/products.h"

namespace switchyard {
uint64_t dense_mlp(const Compute& compute, const ModelSpec& spec, const LayerWeights& weights,
                   uint32_t count, Workspace& workspace, float* y) {
  const size_t inner_stride = padded(weights.gate.rows);
  const Product gated = {.w = &weights.gate,
                         .up = &weights.up,
                         .packed = workspace.packed,
                         .tokens = count,
                         .y = workspace.inner,
                         .y_stride = inner_stride};
  run_products(compute.pool, compute.kernels, {&gated, 1});
  pack_rows(compute.pool, compute.kernels, workspace.inner, inner_stride, count, weights.gate.rows,
            workspace.packed);
  const Product down = {.w = &weights.down,
                        .packed = workspace.packed,
                        .tokens = count,
                        .y = y,
                        .y_stride = padded(spec.hidden)};
  run_products(compute.pool, compute.kernels, {&down, 1});
  return product_weight_bytes(gated) + product_weight_bytes(down);
}

MoeBlock::MoeBlock(const ModelSpec& spec, const ExpertOrder& order, const Placement& placement,
                   uint32_t rank, std::span<ExpertExchange* const> exchanges, SliceExchange* slices)
    : spec_(spec),
      placement_(placement),
      router_of_layer_(spec.layers.size()),
      leaf_of_expert_(spec.layers.size()) {
  CHECK(order.size() == spec.sparse_layers() && placement.holders.size() == order.size());
  CHECK(placement.valid());
  CHECK(spec.moe.top_k <= kTopKMax);
  const std::vector<uint16_t> layers = spec.router_layers();
  for (uint32_t at = 0; at < layers.size(); ++at) {
    router_of_layer_[layers[at]] = at;
    std::vector<uint16_t>& leaf = leaf_of_expert_[layers[at]];
    leaf.resize(spec.moe.experts);
    for (size_t place = 0; place < leaf.size(); ++place) {
      leaf[order[at][place]] = static_cast<uint16_t>(place);
    }
  }
  if (slices != nullptr) sliced_.emplace(spec, *slices);
  for (ExpertExchange* exchange : exchanges) {
    passes_.emplace_back(spec, rank, placement.ranks, exchange, sliced_ ? &*sliced_ : nullptr);
  }
}

uint64_t MoeBlock::saving_owners(uint32_t row) const {
  const uint32_t in_first = passes_.front().count();
  return row < in_first ? passes_[0].saving_owners(row) : passes_[1].saving_owners(row - in_first);
}

void MoeBlock::route(const Compute& compute, const LayerWeights& weights, uint32_t count,
                     Workspace& workspace) {
  const size_t stride = padded(spec_.moe.experts);
  const Product scores = {.w = &weights.router,
                          .packed = workspace.packed,
                          .tokens = count,
                          .y = workspace.router_logits,
                          .y_stride = stride};
  run_products(compute.pool, compute.kernels, {&scores, 1});
  const uint32_t k = spec_.moe.top_k;
  compute.pool.split(count, uint64_t{4} * spec_.moe.experts, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      route_token(compute.kernels, {workspace.router_logits + row * stride, spec_.moe.experts},
                  spec_.moe.renormalise, {workspace.routed + row * k, k});
    }
  });
}

// Before the routed experts, whose reads are under way meanwhile.
void MoeBlock::compute_shared(const Compute& compute, const LayerWeights& weights, uint32_t count,
                              Workspace& workspace, uint64_t& weight_bytes) const {
  const Product score = {.w = &weights.shared_router,
                         .packed = workspace.packed,
                         .tokens = count,
                         .y = workspace.shared_score,
                         .y_stride = padded(1)};
  run_products(compute.pool, compute.kernels, {&score, 1});
  weight_bytes += product_weight_bytes(score);
  weight_bytes += dense_mlp(compute, spec_, weights, count, workspace, workspace.shared);
  const Kernels& kernels = compute.kernels;
  const size_t stride = padded(spec_.hidden);
  compute.pool.split(count, stride, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      float* shared = workspace.shared + row * stride;
      const float gate = kernels.sigmoid(workspace.shared_score[row * padded(1)]);
      kernels.scale(shared, gate, spec_.hidden, shared);
    }
  });
}

void MoeBlock::add_shared(const Compute& compute, uint32_t count, Workspace& workspace) const {
  const size_t stride = padded(spec_.hidden);
  compute.pool.split(count, stride, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      float* update = workspace.update + row * stride;
      compute.kernels.add(update, workspace.shared + row * stride, spec_.hidden, update);
    }
  });
}

// Rows of the passes that a step takes, one or two.
std::vector<uint32_t> MoeBlock::rows_of_passes(uint32_t count, bool halves) const {
  CHECK(!halves || passes_.size() == 2);
  if (!halves) return {count};
  return {first_half(count), count - first_half(count)};
}

Status MoeBlock::run_passes(const Compute& compute, uint32_t layer, const LayerWeights& weights,
                            uint32_t count, ExpertCache& cache, Workspace& workspace,
                            uint64_t& weight_bytes, const Calls& calls,
                            const ExchangeStep& exchange, bool halves) {
  const ExpertLayer of_layer = {static_cast<uint16_t>(layer), leaf_of_expert_[layer],
                                placement_.holders[router_of_layer_[layer]], calls.present};
  const std::vector<uint32_t> rows = rows_of_passes(count, halves);
  uint32_t first = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    ExchangeStep step = exchange;
    for (uint32_t& of_rank : step.rows_of_rank) {
      if (halves) of_rank = i == 0 ? first_half(of_rank) : of_rank - first_half(of_rank);
    }
    TRY_STATUS(passes_[i].dispatch(of_layer, step, first, rows[i], workspace));
    first += rows[i];
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    TRY_STATUS(passes_[i].wait_for_rows(i == 0 ? nullptr : &passes_[i - 1], workspace));
    const auto while_reading = [&] {
      if (i > 0) return;
      if (spec_.moe.shared_intermediate != 0 && count > 0) {
        compute_shared(compute, weights, count, workspace, weight_bytes);
      }
      calls.while_reading();
    };
    TRY_STATUS(passes_[i].compute(compute, cache, workspace, weight_bytes, while_reading));
    TRY_STATUS(passes_[i].return_parts(compute, workspace));
  }
  for (size_t i = 0; i < rows.size(); ++i) TRY_STATUS(passes_[i].combine(compute, workspace));
  return {};
}

Status MoeBlock::run(const Compute& compute, uint32_t layer, const LayerWeights& weights,
                     uint32_t count, ExpertCache& cache, Workspace& workspace,
                     uint64_t& weight_bytes, const Calls& calls, const ExchangeStep& exchange,
                     bool halves) {
  if (count > 0) {
    pack_rows(compute.pool, compute.kernels, workspace.normed, padded(spec_.hidden), count,
              spec_.hidden, workspace.packed);
    route(compute, weights, count, workspace);
    weight_bytes += matrix_bytes(weights.router.dtype, weights.router.rows, weights.router.cols);
  }
  if (calls.reroute) calls.reroute({workspace.routed, size_t{count} * spec_.moe.top_k});
  TRY_STATUS(run_passes(compute, layer, weights, count, cache, workspace, weight_bytes, calls,
                        exchange, halves));
  if (spec_.moe.shared_intermediate != 0 && count > 0) add_shared(compute, count, workspace);
  return {};
}

}  // namespace switchyard
