#include "runtime/engine/expert_pass.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "comm/combine.h"
#include "runtime/base/check.h"
#include "runtime/base/replica_choice.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/products.h"

namespace switchyard {

std::span<const PlannedPick> ExpertPass::picks(uint32_t row) const {
  return exchange_ != nullptr ? exchange_->picks(row) : plan_.of(row);
}

std::span<float*> ExpertPass::parts_of(uint32_t row) {
  if (exchange_ != nullptr) return exchange_->parts(row);
  return std::span(own_parts_).subspan(size_t{row} * spec_.moe.top_k, spec_.moe.top_k);
}

uint64_t ExpertPass::saving_owners(uint32_t row) const {
  std::array<uint64_t, kTopKMax> holders;
  size_t count = 0;
  for (const PlannedPick& pick : plan_.of(row)) holders[count++] = layer_.holders[pick.expert];
  return switchyard::saving_owners(std::span(holders).first(count));
}

Status ExpertPass::dispatch(const ExpertLayer& layer, const ExchangeStep& step, uint32_t first,
                            uint32_t count, const Workspace& workspace) {
  const uint32_t k = spec_.moe.top_k;
  layer_ = layer;
  step_ = step.number;
  first_ = first;
  plan_ = plan_dispatch({.routed = {workspace.routed + size_t{first} * k, size_t{count} * k},
                         .top_k = k,
                         .place_of = layer.place_of,
                         .holders = layer.holders,
                         .present = layer.present,
                         .rank = rank_,
                         .ranks = ranks_});
  if (exchange_ == nullptr) return {};
  const size_t stride = padded(spec_.hidden);
  return exchange_->dispatch(step, plan_, workspace.normed + first * stride, stride);
}

Status ExpertPass::wait_for_rows(const ExpertPass* before, Workspace& workspace) {
  if (exchange_ != nullptr) {
    TRY_STATUS(exchange_->wait_for_rows());
    x_ = exchange_->rows();
    stride_ = exchange_->stride();
    rows_ = exchange_->count();
  } else {
    stride_ = padded(spec_.hidden);
    x_ = workspace.normed + first_ * stride_;
    rows_ = plan_.rows();
    own_parts_.assign(plan_.picks.size(), nullptr);
  }
  row_base_ = before != nullptr ? before->row_base_ + before->rows_ : 0;
  pick_base_ = before != nullptr ? before->bucket_begin_.back() : 0;
  fill_buckets(workspace);
  return {};
}

// Rows sorted by expert: bucket_row lists each bucket's rows, bucket_at says where a row's pick
// lies.
void ExpertPass::fill_buckets(Workspace& workspace) {
  const uint32_t experts = spec_.moe.experts, k = spec_.moe.top_k;
  bucket_begin_.assign(experts + 1, 0);
  const auto each_pick = [&](const auto& visit) {
    for (uint32_t row = 0; row < rows_; ++row) {
      const std::span<const PlannedPick> of_row = picks(row);
      for (uint32_t i = 0; i < k; ++i) {
        if (of_row[i].rank == rank_) visit(row, i, of_row[i].expert);
      }
    }
  };
  each_pick([&](uint32_t, uint32_t, uint16_t expert) { ++bucket_begin_[expert + 1U]; });
  active_.clear();
  bucket_begin_[0] = pick_base_;
  for (uint32_t expert = 0; expert < experts; ++expert) {
    if (bucket_begin_[expert + 1] != 0) active_.push_back(static_cast<uint16_t>(expert));
    bucket_begin_[expert + 1] += bucket_begin_[expert];
  }
  std::vector<uint32_t> next(bucket_begin_.begin(), bucket_begin_.end() - 1);
  each_pick([&](uint32_t row, uint32_t i, uint16_t expert) {
    const uint32_t at = next[expert]++;
    workspace.bucket_row[at] = row;
    workspace.bucket_at[(row_base_ + row) * k + i] = at;
  });
}

Status ExpertPass::compute(const Compute& compute, ExpertCache& cache, Workspace& workspace,
                           uint64_t& weight_bytes, const std::function<void()>& while_reading) {
  if (sliced_ != nullptr) {
    CHECK(pick_base_ == 0);  // in one pass
    return sliced_->compute(compute, {step_, layer_.layer, x_, stride_, bucket_begin_}, cache,
                            workspace, weight_bytes, while_reading);
  }
  // A step whose cycle of experts does not fit the slots would push out everything: it sweeps. A
  // single row follows the policy, which knows what comes again.
  const bool overflows = active_.size() * spec_.sparse_layers() > cache.slots();
  const CachePath path = rows_ > 1 && overflows ? CachePath::kSweep : CachePath::kKeep;
  if (!active_.empty()) cache.request(layer_.layer, active_, path);
  while_reading();
  while (!active_.empty()) {
    const std::vector<ExpertLease> leases = TRY(cache.next());
    if (leases.empty()) break;
    compute_ready(compute, leases, workspace, weight_bytes);
  }
  return {};
}

// The experts of `leases`, all their tokens.
void ExpertPass::compute_ready(const Compute& compute, const std::vector<ExpertLease>& leases,
                               Workspace& workspace, uint64_t& weight_bytes) const {
  const Kernels& kernels = compute.kernels;
  const uint32_t hidden = spec_.hidden, intermediate = spec_.moe.intermediate;
  const size_t hidden_stride = padded(hidden), inner_stride = padded(intermediate);
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
    kernels.pack(x_, stride_, workspace.bucket_row + begin, tokens, hidden,
                 workspace.expert_rows + begin * hidden_stride);
  });
  run_products(compute.pool, kernels, gated);
  each_bucket([&](uint32_t begin, uint32_t tokens) {
    kernels.pack(workspace.expert_inner + begin * inner_stride, inner_stride, nullptr, tokens,
                 intermediate, workspace.expert_packed + begin * inner_stride);
  });
  run_products(compute.pool, kernels, down);  // over the packed inputs, which are spent
}

// The partials of one row that are due here, each the sum of its leaves along the expert tree. A
// leaf is gate weight × output.
void ExpertPass::sum_row_parts(const Compute& compute, uint32_t row, Workspace& workspace) {
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
      const size_t at = workspace.bucket_at[(row_base_ + row) * k + i];
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

Status ExpertPass::return_parts(const Compute& compute, Workspace& workspace) {
  compute.pool.split(rows_, spec_.moe.top_k * padded(spec_.hidden),
                     [&](uint32_t first, uint32_t last) {
                       for (uint32_t row = first; row < last; ++row) {
                         sum_row_parts(compute, row, workspace);
                       }
                     });
  return exchange_ != nullptr ? exchange_->return_parts(compute.kernels) : Status{};
}

Status ExpertPass::combine(const Compute& compute, Workspace& workspace) {
  if (exchange_ != nullptr) TRY_STATUS(exchange_->combine(compute.kernels));
  const size_t stride = padded(spec_.hidden);
  compute.pool.split(plan_.rows(), spec_.moe.top_k * stride, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      const float* sum =
          combine_parts(compute.kernels, picks(row), parts_of(row), plan_.place_of, spec_.hidden);
      std::memcpy(workspace.update + (first_ + row) * stride, sum, spec_.hidden * sizeof(float));
    }
  });
  return {};
}

}  // namespace switchyard
