#include "runtime/engine/moe_block.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/combine.h"
#include "experts/expert_cache.h"
#include "experts/router.h"
#include "runtime/base/check.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/products.h"

namespace switchyard {
namespace {

constexpr uint32_t kTopKMax = 256;  // of a token's places on the stack; families allow no more

}  // namespace

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

MoeBlock::MoeBlock(const ModelSpec& spec, const ExpertOrder& order)
    : spec_(spec), leaf_of_expert_(spec.layers.size()) {
  CHECK(order.size() == spec.sparse_layers());
  CHECK(spec.moe.top_k <= kTopKMax);
  const std::vector<uint16_t> layers = spec.router_layers();
  for (size_t at = 0; at < layers.size(); ++at) {
    std::vector<uint16_t>& leaf = leaf_of_expert_[layers[at]];
    leaf.resize(spec.moe.experts);
    for (size_t place = 0; place < leaf.size(); ++place) {
      leaf[order[at][place]] = static_cast<uint16_t>(place);
    }
  }
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
void MoeBlock::fill_buckets(uint32_t count, Workspace& workspace) {
  const uint32_t experts = spec_.moe.experts, picks = count * spec_.moe.top_k;
  bucket_begin_.assign(experts + 1, 0);
  for (uint32_t pick = 0; pick < picks; ++pick) {
    ++bucket_begin_[workspace.routed[pick].expert + 1U];
  }
  active_.clear();
  for (uint32_t expert = 0; expert < experts; ++expert) {
    if (bucket_begin_[expert + 1] != 0) active_.push_back(static_cast<uint16_t>(expert));
    bucket_begin_[expert + 1] += bucket_begin_[expert];
  }
  std::vector<uint32_t> next(bucket_begin_.begin(), bucket_begin_.end() - 1);
  for (uint32_t pick = 0; pick < picks; ++pick) {
    const uint32_t at = next[workspace.routed[pick].expert]++;
    workspace.bucket_row[at] = pick / spec_.moe.top_k;
    workspace.bucket_at[pick] = at;
  }
}

// A step whose cycle of experts does not fit the slots would push out everything: it sweeps. A
// single row follows the policy, which knows what comes again.
void MoeBlock::request(uint32_t layer, uint32_t count, ExpertCache& cache) const {
  const bool overflows = active_.size() * spec_.sparse_layers() > cache.slots();
  cache.request(static_cast<uint16_t>(layer), active_,
                count > 1 && overflows ? CachePath::kSweep : CachePath::kKeep);
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
      kernels.pack(workspace.normed, hidden_stride, workspace.bucket_row + begin, tokens, hidden,
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

// Leaves are gate weight × output; they are summed along the expert tree.
void MoeBlock::combine(const Compute& compute, uint32_t layer, uint32_t count,
                       Workspace& workspace) const {
  const std::vector<uint16_t>& leaf_of_expert = leaf_of_expert_[layer];
  const uint32_t k = spec_.moe.top_k;
  const size_t stride = padded(spec_.hidden);
  compute.pool.split(count, k * stride, [&](uint32_t first, uint32_t last) {
    std::array<std::pair<uint32_t, uint32_t>, kTopKMax> picks;  // leaf, pick
    std::array<uint32_t, kTopKMax> places;
    std::array<float*, kTopKMax> rows;
    for (uint32_t row = first; row < last; ++row) {
      for (uint32_t i = 0; i < k; ++i) {
        const uint32_t pick = row * k + i;
        picks[i] = {leaf_of_expert[workspace.routed[pick].expert], pick};
      }
      std::sort(picks.begin(), picks.begin() + k);
      for (uint32_t i = 0; i < k; ++i) {
        const auto [leaf, pick] = picks[i];
        places[i] = leaf;
        rows[i] = workspace.expert_rows + workspace.bucket_at[pick] * stride;
        compute.kernels.scale(rows[i], workspace.routed[pick].gate_weight, spec_.hidden, rows[i]);
      }
      const CombineToken token = {.places = {places.data(), k}, .leaf_rows = {rows.data(), k}};
      const float* sum = combine_token(compute.kernels, token, spec_.moe.experts, spec_.hidden);
      std::memcpy(workspace.update + row * stride, sum, spec_.hidden * sizeof(float));
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

Status MoeBlock::run(const Compute& compute, uint32_t layer, const LayerWeights& weights,
                     uint32_t count, ExpertCache& cache, Workspace& workspace,
                     uint64_t& weight_bytes, const Calls& calls) {
  const bool shared = spec_.moe.shared_intermediate != 0;
  pack_rows(compute.pool, compute.kernels, workspace.normed, padded(spec_.hidden), count,
            spec_.hidden, workspace.packed);
  route(compute, weights, count, workspace);
  if (calls.reroute) calls.reroute({workspace.routed, size_t{count} * spec_.moe.top_k});
  weight_bytes += matrix_bytes(weights.router.dtype, weights.router.rows, weights.router.cols);
  fill_buckets(count, workspace);
  request(layer, count, cache);
  if (shared) compute_shared(compute, weights, count, workspace, weight_bytes);
  calls.while_reading();
  TRY_STATUS(compute_experts(compute, cache, workspace, weight_bytes));
  combine(compute, layer, count, workspace);
  if (shared) add_shared(compute, count, workspace);
  return {};
}

}  // namespace switchyard
