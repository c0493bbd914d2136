#include "runtime/engine/attention_block.h"

#include <algorithm>
#include <array>

#include "runtime/base/exact_math.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/products.h"

namespace switchyard {
namespace {

struct Strides {
  size_t hidden, q, kv, half;
  explicit Strides(const ModelSpec& spec)
      : hidden(padded(spec.hidden)),
        q(padded(spec.attention.q_width())),
        kv(padded(spec.attention.kv_width())),
        half(padded(spec.attention.head_dim / 2)) {}
};

// Norm of a q or k row: by head, or over the full width with the sum of squares joined by head
// groups.
void norm_heads(const Kernels& kernels, const ModelSpec& spec, const std::vector<float>& weight,
                uint32_t heads, uint32_t group_heads, float* row) {
  const uint32_t head_dim = spec.attention.head_dim;
  switch (spec.attention.qk_norm) {
    case QkNorm::kNone:
      return;
    case QkNorm::kPerHead:
      for (uint32_t head = 0; head < heads; ++head) {
        float* x = row + head * head_dim;
        kernels.rms_norm(x, weight.data(), head_dim, head_dim, spec.norm_eps, x);
      }
      return;
    case QkNorm::kFullWidth:
      kernels.rms_norm(row, weight.data(), heads * head_dim, group_heads * head_dim, spec.norm_eps,
                       row);
      return;
  }
}

void add_bias(const Kernels& kernels, const std::vector<float>& bias, float* row) {
  if (!bias.empty()) kernels.add(row, bias.data(), static_cast<uint32_t>(bias.size()), row);
}

// Everything between the q, k, v products and attention, for one row; its key and value go to the
// cache.
void finish_row(const Kernels& kernels, const ModelSpec& spec, uint32_t layer,
                const LayerWeights& weights, const StepRow& at, uint32_t index, KvCache& cache,
                Workspace& workspace) {
  const AttentionSpec& attention = spec.attention;
  const Strides strides(spec);
  float* q = workspace.q + index * strides.q;
  float* k = workspace.k + index * strides.kv;
  float* v = workspace.v + index * strides.kv;
  add_bias(kernels, weights.q_bias, q);
  add_bias(kernels, weights.k_bias, k);
  add_bias(kernels, weights.v_bias, v);
  norm_heads(kernels, spec, weights.q_norm, attention.heads, attention.group_heads(), q);
  norm_heads(kernels, spec, weights.k_norm, attention.kv_heads, 1, k);
  if (attention.clip != 0) {
    kernels.clip(q, attention.clip, attention.q_width());
    kernels.clip(k, attention.clip, attention.kv_width());
    kernels.clip(v, attention.clip, attention.kv_width());
  }
  const uint32_t head_dim = attention.head_dim;
  const float* cos = workspace.cos + index * strides.half;
  const float* sin = workspace.sin + index * strides.half;
  for (uint32_t head = 0; head < attention.heads; ++head) {
    kernels.rope(q + head * head_dim, cos, sin, head_dim / 2);
  }
  for (uint32_t head = 0; head < attention.kv_heads; ++head) {
    kernels.rope(k + head * head_dim, cos, sin, head_dim / 2);
    std::copy_n(k + head * head_dim, head_dim, cache.key(at.sequence, layer, head, at.position));
    std::copy_n(v + head * head_dim, head_dim, cache.value(at.sequence, layer, head, at.position));
  }
}

// Rows from both ends in turn: later rows of a prompt attend to more positions, and so every
// stretch of rows costs about the same.
uint32_t balanced_row(uint32_t index, uint32_t count) {
  return index % 2 == 0 ? index / 2 : count - 1 - index / 2;
}

void attend(const Compute& compute, const ModelSpec& spec, uint32_t layer,
            std::span<const StepRow> rows, const KvCache& cache, Workspace& workspace) {
  const AttentionSpec& attention = spec.attention;
  const Strides strides(spec);
  const uint32_t window = spec.layers[layer].window;
  const uint32_t group_width = attention.group_heads() * attention.head_dim;
  const auto count = static_cast<uint32_t>(rows.size());
  const uint32_t tasks = count * attention.kv_heads;
  const uint64_t positions =
      window != 0 ? std::min(rows.back().position + 1, window) : rows.back().position + 1;
  compute.pool.split(tasks, positions * group_width, [&](uint32_t first, uint32_t last) {
    for (uint32_t task = first; task < last; ++task) {
      // One head after the other: its keys and values stay in the cache for all rows.
      const uint32_t head = task / count, row = balanced_row(task % count, count);
      const uint32_t end = rows[row].position + 1;
      const uint32_t begin = window != 0 && end > window ? end - window : 0;
      const size_t at = row * strides.q + static_cast<size_t>(head) * group_width;
      compute.kernels.attend(workspace.q + at, attention.head_dim, attention.group_heads(),
                             cache.view(rows[row].sequence, layer, head), attention.head_dim,
                             attention.scale, begin, end, workspace.attended + at,
                             attention.head_dim);
    }
  });
}

}  // namespace

void rope_angles(const Compute& compute, const ModelSpec& spec, std::span<const StepRow> rows,
                 Workspace& workspace) {
  const size_t stride = padded(spec.attention.head_dim / 2);
  const uint64_t angle_work = uint64_t{64} * spec.rope.inverse_frequency.size();
  compute.pool.split(
      static_cast<uint32_t>(rows.size()), angle_work, [&](uint32_t first, uint32_t last) {
        for (uint32_t row = first; row < last; ++row) {
          for (size_t i = 0; i < spec.rope.inverse_frequency.size(); ++i) {
            const float angle =
                static_cast<float>(rows[row].position) * spec.rope.inverse_frequency[i];
            const float factor = spec.rope.attention_factor;
            workspace.cos[row * stride + i] = static_cast<float>(exact_cos(angle)) * factor;
            workspace.sin[row * stride + i] = static_cast<float>(exact_sin(angle)) * factor;
          }
        }
      });
}

uint64_t attention_block(const Compute& compute, const ModelSpec& spec, uint32_t layer,
                         const LayerWeights& weights, std::span<const StepRow> rows, KvCache& cache,
                         Workspace& workspace) {
  const AttentionSpec& attention = spec.attention;
  const Strides strides(spec);
  const auto count = static_cast<uint32_t>(rows.size());
  pack_rows(compute.pool, compute.kernels, workspace.normed, strides.hidden, count, spec.hidden,
            workspace.packed);
  const auto project = [&](const MatrixView& w, float* y, size_t stride) {
    return Product{
        .w = &w, .packed = workspace.packed, .tokens = count, .y = y, .y_stride = stride};
  };
  const std::array<Product, 3> qkv = {project(weights.q, workspace.q, strides.q),
                                      project(weights.k, workspace.k, strides.kv),
                                      project(weights.v, workspace.v, strides.kv)};
  run_products(compute.pool, compute.kernels, qkv);
  compute.pool.split(count, attention.q_width() + uint64_t{2} * attention.kv_width(),
                     [&](uint32_t first, uint32_t last) {
                       for (uint32_t row = first; row < last; ++row) {
                         finish_row(compute.kernels, spec, layer, weights, rows[row], row, cache,
                                    workspace);
                       }
                     });
  attend(compute, spec, layer, rows, cache, workspace);

  pack_rows(compute.pool, compute.kernels, workspace.attended, strides.q, count,
            attention.q_width(), workspace.packed);
  Product output = project(weights.o, workspace.update, strides.hidden);
  output.segment = attention.group_heads() * attention.head_dim;  // the head tree
  run_products(compute.pool, compute.kernels, {&output, 1});
  for (uint32_t row = 0; row < count; ++row) {
    add_bias(compute.kernels, weights.o_bias, workspace.update + row * strides.hidden);
  }
  uint64_t bytes = product_weight_bytes(output);
  for (const Product& product : qkv) bytes += product_weight_bytes(product);
  return bytes;
}

}  // namespace switchyard
