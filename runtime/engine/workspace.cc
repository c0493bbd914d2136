#include "runtime/engine/workspace.h"

#include <algorithm>

#include "runtime/engine/carver.h"

namespace switchyard {

size_t Workspace::carve(std::byte* base, const ModelSpec& spec) {
  const AttentionSpec& attention = spec.attention;
  const size_t hidden = padded(spec.hidden);
  const size_t q_width = padded(attention.q_width()), kv_width = padded(attention.kv_width());
  const size_t inner_width =
      padded(std::max(spec.dense_intermediate, spec.moe.shared_intermediate));
  const size_t expert_width = padded(spec.moe.intermediate);
  const size_t picks = static_cast<size_t>(rows) * spec.moe.top_k;

  Carver carver(base);
  x = carver.take<float>(rows * hidden);
  normed = carver.take<float>(rows * hidden);
  update = carver.take<float>(rows * hidden);
  packed = carver.take<float>(rows * std::max({hidden, q_width, inner_width}));
  q = carver.take<float>(rows * q_width);
  k = carver.take<float>(rows * kv_width);
  v = carver.take<float>(rows * kv_width);
  attended = carver.take<float>(rows * q_width);
  cos = carver.take<float>(rows * padded(attention.head_dim / 2));
  sin = carver.take<float>(rows * padded(attention.head_dim / 2));
  inner = carver.take<float>(rows * inner_width);
  if (spec.moe.shared_intermediate != 0) {
    shared = carver.take<float>(rows * hidden);
    shared_score = carver.take<float>(rows * padded(1));
  }
  router_logits = carver.take<float>(rows * padded(spec.moe.experts));
  routed = carver.take<RoutedExpert>(rows * padded(spec.moe.top_k));
  bucket_row = carver.take<uint32_t>(rows * padded(spec.moe.top_k));
  bucket_at = carver.take<uint32_t>(rows * padded(spec.moe.top_k));
  expert_rows = carver.take<float>(picks * hidden);
  expert_inner = carver.take<float>(picks * expert_width);
  expert_packed = carver.take<float>(picks * expert_width);
  logits = carver.take<float>(logits_rows * padded(spec.vocab));
  return carver.bytes();
}

size_t Workspace::bytes(const ModelSpec& spec, uint32_t rows, uint32_t logits_rows) {
  Workspace workspace;
  workspace.rows = rows;
  workspace.logits_rows = logits_rows;
  return workspace.carve(nullptr, spec);
}

Result<Workspace> Workspace::create(const ModelSpec& spec, uint32_t rows, uint32_t logits_rows) {
  Workspace workspace;
  workspace.rows = rows;
  workspace.logits_rows = logits_rows;
  workspace.slab_ = TRY(Slab::allocate(bytes(spec, rows, logits_rows), "activations"));
  workspace.slab_.populate(workspace.slab_.size());  // or the first prompt would pay for it
  workspace.carve(workspace.slab_.data(), spec);
  return workspace;
}

}  // namespace switchyard
