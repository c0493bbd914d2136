#include "runtime/engine/moe_block.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/combine.h"
#include "experts/expert_cache.h"
#include "experts/router.h"
#include "runtime/base/check.h"
#include "runtime/base/replica_choice.h"
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
                   uint32_t rank, ExpertExchange* exchange)
    : spec_(spec),
      placement_(placement),
      rank_(rank),
      exchange_(exchange),
      router_of_layer_(spec.layers.size()),
      leaf_of_expert_(spec.layers.size()) {
  CHECK(order.size() == spec.sparse_layers() && placement.holders.size() == order.size());
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
}

std::span<float*> MoeBlock::parts_of(uint32_t row) {
  if (exchange_ != nullptr) return exchange_->parts(row);
  return std::span(own_parts_).subspan(size_t{row} * spec_.moe.top_k, spec_.moe.top_k);
}

std::span<const PlannedPick> MoeBlock::picks(uint32_t row) const {
  return exchange_ != nullptr ? exchange_->picks(row) : plan_.of(row);
}

uint64_t MoeBlock::saving_owners(uint32_t layer, uint32_t row) const {
  std::array<uint64_t, kTopKMax> holders;
  size_t count = 0;
  for (const PlannedPick& pick : plan_.of(row)) {
    holders[count++] = placement_.holders[router_of_layer_[layer]][pick.expert];
  }
  return switchyard::saving_owners(std::span(holders).first(count));
}

void MoeBlock::plan(uint32_t layer, uint32_t count, const Workspace& workspace) {
  plan_ = plan_dispatch({.routed = {workspace.routed, size_t{count} * spec_.moe.top_k},
                         .top_k = spec_.moe.top_k,
                         .place_of = leaf_of_expert_[layer],
                         .holders = placement_.holders[router_of_layer_[layer]],
                         .rank = rank_,
                         .ranks = placement_.ranks});
}

// This rank's rows to where they are needed, and the others' here.
Status MoeBlock::bring_rows(const ExchangeStep& step, const Workspace& workspace) {
  const size_t stride = padded(spec_.hidden);
  if (exchange_ == nullptr) {
    rows_ = {workspace.normed, stride, plan_.rows()};
    own_parts_.assign(plan_.picks.size(), nullptr);
    return {};
  }
  TRY_STATUS(exchange_->dispatch(step, plan_, workspace.normed, stride));
  TRY_STATUS(exchange_->wait_for_rows());
  rows_ = {exchange_->rows(), exchange_->stride(), exchange_->count()};
  return {};
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

// Rows sorted by expert: bucket_row lists each bucket's rows, bucket_at says where a row's pick
// lies.
void MoeBlock::fill_buckets(Workspace& workspace) {
  const uint32_t experts = spec_.moe.experts, k = spec_.moe.top_k;
  bucket_begin_.assign(experts + 1, 0);
  const auto each_pick = [&](const auto& visit) {
    for (uint32_t row = 0; row < rows_.count; ++row) {
      const std::span<const PlannedPick> of_row = picks(row);
      for (uint32_t i = 0; i < k; ++i) {
        if (of_row[i].rank == rank_) visit(row, i, of_row[i].expert);
      }
    }
  };
  each_pick([&](uint32_t, uint32_t, uint16_t expert) { ++bucket_begin_[expert + 1U]; });
  active_.clear();
  for (uint32_t expert = 0; expert < experts; ++expert) {
    if (bucket_begin_[expert + 1] != 0) active_.push_back(static_cast<uint16_t>(expert));
    bucket_begin_[expert + 1] += bucket_begin_[expert];
  }
  std::vector<uint32_t> next(bucket_begin_.begin(), bucket_begin_.end() - 1);
  each_pick([&](uint32_t row, uint32_t i, uint16_t expert) {
    const uint32_t at = next[expert]++;
    workspace.bucket_row[at] = row;
    workspace.bucket_at[row * k + i] = at;
  });
}

// A step whose cycle of experts does not fit the slots would push out everything: it sweeps. A
// single row follows the policy, which knows what comes again.
void MoeBlock::request(uint32_t layer, ExpertCache& cache) const {
  const bool overflows = active_.size() * spec_.sparse_layers() > cache.slots();
  cache.request(static_cast<uint16_t>(layer), active_,
                rows_.count > 1 && overflows ? CachePath::kSweep : CachePath::kKeep);
}

// Computes the experts in the order in which they become ready: resident ones while the others are
// read.
Status MoeBlock::compute_experts(const Compute& compute, ExpertCache& cache, Workspace& workspace,
                                 uint64_t& weight_bytes) {
  const Kernels& kernels = compute.kernels;
  const uint32_t hidden = spec_.hidden, intermediate = spec_.moe.intermediate;
  const size_t hidden_stride = padded(hidden), inner_stride = padded(intermediate);
  while (true) {
    const std::vector<ExpertLease> leases = TRY(cache.next());
    if (leases.empty()) return {};
    std::vector<Product> gated, down;
    uint64_t floats = 0;  // of packed inputs
    for (const ExpertLease& lease : leases) {
      const uint32_t begin = bucket_begin_[lease.key().expert];
      const uint32_t tokens = bucket_begin_[lease.key().expert + 1U] - begin;
      gated.push_back({.w = &lease.view().gate,
                       .up = &lease.view().up,
                       .packed = workspace.expert_rows + begin * hidden_stride,
                       .tokens = tokens,
                       .y = workspace.expert_inner + begin * inner_stride,
                       .y_stride = inner_stride});
      down.push_back({.w = &lease.view().down,
                      .packed = workspace.expert_packed + begin * inner_stride,
                      .tokens = tokens,
                      .y = workspace.expert_rows + begin * hidden_stride,
                      .y_stride = hidden_stride});
      floats += uint64_t{tokens} * hidden;
      weight_bytes += product_weight_bytes(gated.back()) + product_weight_bytes(down.back());
    }
    const auto each_bucket = [&](const auto& pack) {
      const auto buckets = static_cast<uint32_t>(leases.size());
      compute.pool.split(buckets, floats / buckets, [&](uint32_t first, uint32_t last) {
        for (uint32_t i = first; i < last; ++i) {
          pack(bucket_begin_[leases[i].key().expert], gated[i].tokens);
        }
      });
    };
    each_bucket([&](uint32_t begin, uint32_t tokens) {
      kernels.pack(rows_.x, rows_.stride, workspace.bucket_row + begin, tokens, hidden,
                   workspace.expert_rows + begin * hidden_stride);
    });
    run_products(compute.pool, kernels, gated);
    each_bucket([&](uint32_t begin, uint32_t tokens) {
      kernels.pack(workspace.expert_inner + begin * inner_stride, inner_stride, nullptr, tokens,
                   intermediate, workspace.expert_packed + begin * inner_stride);
    });
    run_products(compute.pool, kernels, down);  // over the packed inputs, which are spent
  }
}

// The partials of one row that are due here, each the sum of its leaves along the expert tree. A
// leaf is gate weight × output.
void MoeBlock::sum_row_parts(const Compute& compute, uint32_t row, Workspace& workspace) {
  const uint32_t k = spec_.moe.top_k;
  const std::span<const PlannedPick> of_row = picks(row);
  const std::span<float*> parts = parts_of(row);
  std::array<uint32_t, kTopKMax> places;
  std::array<float*, kTopKMax> leaves;
  for (uint32_t i = 0; i < k;) {
    uint32_t count = 0;
    const uint32_t first = i;
    for (; i < k && of_row[i].part == of_row[first].part; ++i) {
      if (of_row[i].rank != rank_) continue;
      const size_t at = workspace.bucket_at[row * k + i];
      float* leaf = workspace.expert_rows + at * padded(spec_.hidden);
      compute.kernels.scale(leaf, of_row[i].gate_weight, spec_.hidden, leaf);
      places[count] = plan_.place_of[of_row[i].expert];
      leaves[count++] = leaf;
    }
    if (count == 0) continue;
    const CombineToken token = {.places = {places.data(), count},
                                .leaf_rows = {leaves.data(), count}};
    parts[of_row[first].part] =
        combine_token(compute.kernels, token, spec_.moe.experts, spec_.hidden);
  }
}

// All rows' partials that are due here, then each own row's, from here and elsewhere, along the
// expert tree.
Status MoeBlock::combine(const Compute& compute, Workspace& workspace) {
  const uint64_t work = spec_.moe.top_k * padded(spec_.hidden);
  compute.pool.split(rows_.count, work, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) sum_row_parts(compute, row, workspace);
  });
  if (exchange_ != nullptr) TRY_STATUS(exchange_->combine(compute.kernels));
  compute.pool.split(plan_.rows(), work, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      const float* sum =
          combine_parts(compute.kernels, picks(row), parts_of(row), plan_.place_of, spec_.hidden);
      std::memcpy(workspace.update + row * padded(spec_.hidden), sum, spec_.hidden * sizeof(float));
    }
  });
  return {};
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

Status MoeBlock::run(const Compute& compute, uint32_t layer, const LayerWeights& weights,
                     uint32_t count, ExpertCache& cache, Workspace& workspace,
                     uint64_t& weight_bytes, const Calls& calls, const ExchangeStep& exchange) {
  const bool shared = spec_.moe.shared_intermediate != 0 && count > 0;
  if (count > 0) {
    pack_rows(compute.pool, compute.kernels, workspace.normed, padded(spec_.hidden), count,
              spec_.hidden, workspace.packed);
    route(compute, weights, count, workspace);
    weight_bytes += matrix_bytes(weights.router.dtype, weights.router.rows, weights.router.cols);
  }
  if (calls.reroute) calls.reroute({workspace.routed, size_t{count} * spec_.moe.top_k});
  plan(layer, count, workspace);
  TRY_STATUS(bring_rows(exchange, workspace));
  fill_buckets(workspace);
  if (!active_.empty()) request(layer, cache);
  if (shared) compute_shared(compute, weights, count, workspace, weight_bytes);
  calls.while_reading();
  if (!active_.empty()) TRY_STATUS(compute_experts(compute, cache, workspace, weight_bytes));
  TRY_STATUS(combine(compute, workspace));
  if (shared) add_shared(compute, count, workspace);
  return {};
}

}  // namespace switchyard
