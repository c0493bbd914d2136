#include "runtime/engine/attention_block.h"

#include <algorithm>
#include <array>

#include "runtime/base/check.h"
#include "runtime/base/exact_math.h"
#include "runtime/base/tree.h"
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

// One of a row's projections, as far as it is computed here.
struct Stretch {
  float* x;             // its first element
  const float* weight;  // of the norm; null where there is none
  uint32_t heads;
  uint32_t group_heads;  // of a segment of the full width
};

// A row's queries and keys of `heads`.
std::array<Stretch, 2> stretches_of(const ModelSpec& spec, const LayerWeights& weights,
                                    HeadRange heads, uint32_t row, Workspace& workspace) {
  const AttentionSpec& attention = spec.attention;
  const Strides strides(spec);
  const uint32_t group = attention.group_heads(), head_dim = attention.head_dim;
  const size_t q_at = size_t{heads.first} * group * head_dim;
  const size_t k_at = size_t{heads.first} * head_dim;
  const bool full = attention.qk_norm == QkNorm::kFullWidth;
  const auto weight = [&](const std::vector<float>& of, size_t at) {
    return of.empty() ? nullptr : of.data() + (full ? at : 0);
  };
  return {
      Stretch{workspace.q + row * strides.q + q_at, weight(weights.q_norm, q_at),
              heads.count * group, group},
      Stretch{workspace.k + row * strides.kv + k_at, weight(weights.k_norm, k_at), heads.count, 1}};
}

void add_bias(const Kernels& kernels, const std::vector<float>& bias, size_t at, uint32_t width,
              float* row) {
  if (!bias.empty()) kernels.add(row, bias.data() + at, width, row);
}

void add_biases(const Kernels& kernels, const ModelSpec& spec, const LayerWeights& weights,
                HeadRange heads, uint32_t row, Workspace& workspace) {
  const Strides strides(spec);
  const uint32_t head_dim = spec.attention.head_dim;
  const uint32_t q_head = spec.attention.group_heads() * head_dim;
  const auto add = [&](const std::vector<float>& bias, uint32_t head_width, float* row_begin) {
    const size_t at = size_t{heads.first} * head_width;
    add_bias(kernels, bias, at, heads.count * head_width, row_begin + at);
  };
  add(weights.q_bias, q_head, workspace.q + row * strides.q);
  add(weights.k_bias, head_dim, workspace.k + row * strides.kv);
  add(weights.v_bias, head_dim, workspace.v + row * strides.kv);
}

// The sums of squares of a norm over the full width, [q, k][kv heads] of one row.
void square_sums(const Kernels& kernels, const ModelSpec& spec, HeadRange heads,
                 std::span<const Stretch> stretches, float* sums) {
  for (const Stretch& of : stretches) {
    const uint32_t width = of.group_heads * spec.attention.head_dim;
    for (uint32_t head = 0; head < heads.count; ++head) {
      sums[heads.first + head] = kernels.sum_of_squares(of.x + size_t{head} * width, width);
    }
    sums += spec.attention.kv_heads;
  }
}

// Along the head tree.
float sum_of_heads(const float* sums, uint32_t begin, uint32_t end) {
  if (end - begin == 1) return sums[begin];
  const uint32_t split = tree_split(begin, end);
  return sum_of_heads(sums, begin, split) + sum_of_heads(sums, split, end);
}

// Norm of a row's q and k: by head, or over the full width, whose `sums` of squares by head group
// come from everywhere.
void norm_heads(const Kernels& kernels, const ModelSpec& spec, std::span<const Stretch> stretches,
                const float* sums) {
  const uint32_t head_dim = spec.attention.head_dim, kv_heads = spec.attention.kv_heads;
  for (const Stretch& of : stretches) {
    switch (spec.attention.qk_norm) {
      case QkNorm::kNone:
        break;
      case QkNorm::kPerHead:
        for (uint32_t head = 0; head < of.heads; ++head) {
          float* x = of.x + size_t{head} * head_dim;
          kernels.rms_norm(x, of.weight, head_dim, head_dim, spec.norm_eps, x);
        }
        break;
      case QkNorm::kFullWidth: {
        const float width = static_cast<float>(kv_heads * of.group_heads * head_dim);
        kernels.normalise(of.x, of.weight, of.heads * head_dim,
                          sum_of_heads(sums, 0, kv_heads) / width, spec.norm_eps, of.x);
        sums += kv_heads;
        break;
      }
    }
  }
}

// Everything between the norm and attention, for one row; its key and value go to the cache.
void finish_row(const Kernels& kernels, const ModelSpec& spec, uint32_t layer, const StepRow& at,
                uint32_t index, HeadRange heads, std::span<const Stretch> stretches, KvCache& cache,
                Workspace& workspace) {
  const AttentionSpec& attention = spec.attention;
  const Strides strides(spec);
  const uint32_t head_dim = attention.head_dim;
  float* q = stretches[0].x;
  float* k = stretches[1].x;
  float* v = workspace.v + index * strides.kv + size_t{heads.first} * head_dim;
  if (attention.clip != 0) {
    kernels.clip(q, attention.clip, stretches[0].heads * head_dim);
    kernels.clip(k, attention.clip, heads.count * head_dim);
    kernels.clip(v, attention.clip, heads.count * head_dim);
  }
  const float* cos = workspace.cos + index * strides.half;
  const float* sin = workspace.sin + index * strides.half;
  for (uint32_t head = 0; head < stretches[0].heads; ++head) {
    kernels.rope(q + size_t{head} * head_dim, cos, sin, head_dim / 2);
  }
  for (uint32_t head = 0; head < heads.count; ++head) {
    const size_t from = size_t{head} * head_dim;
    kernels.rope(k + from, cos, sin, head_dim / 2);
    std::copy_n(k + from, head_dim, cache.key(at.sequence, layer, head, at.position));
    std::copy_n(v + from, head_dim, cache.value(at.sequence, layer, head, at.position));
  }
}

// Rows from both ends in turn: later rows of a prompt attend to more positions, and so every
// stretch of rows costs about the same.
uint32_t balanced_row(uint32_t index, uint32_t count) {
  return index % 2 == 0 ? index / 2 : count - 1 - index / 2;
}

void attend(const Compute& compute, const ModelSpec& spec, uint32_t layer,
            std::span<const StepRow> rows, HeadRange heads, const KvCache& cache,
            Workspace& workspace) {
  const AttentionSpec& attention = spec.attention;
  const Strides strides(spec);
  const uint32_t window = spec.layers[layer].window;
  const uint32_t group_width = attention.group_heads() * attention.head_dim;
  const auto count = static_cast<uint32_t>(rows.size());
  const uint32_t tasks = count * heads.count;
  const uint64_t positions =
      window != 0 ? std::min(rows.back().position + 1, window) : rows.back().position + 1;
  compute.pool.split(tasks, positions * group_width, [&](uint32_t first, uint32_t last) {
    for (uint32_t task = first; task < last; ++task) {
      // One head after the other: its keys and values stay in the cache for all rows.
      const uint32_t head = task / count, row = balanced_row(task % count, count);
      const uint32_t end = rows[row].position + 1;
      const uint32_t begin = window != 0 && end > window ? end - window : 0;
      const size_t at = row * strides.q + size_t{heads.first + head} * group_width;
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

namespace {

// q, k and v of `heads`, by whole blocks of output rows.
uint64_t project(const Compute& compute, const ModelSpec& spec, const LayerWeights& weights,
                 uint32_t count, HeadRange heads, Workspace& workspace) {
  const Strides strides(spec);
  const uint32_t head_dim = spec.attention.head_dim;
  pack_rows(compute.pool, compute.kernels, workspace.normed, strides.hidden, count, spec.hidden,
            workspace.packed);
  std::array<MatrixView, 3> views;
  std::array<Product, 3> products;
  const auto set = [&](size_t i, const MatrixView& w, uint32_t head_width, float* y,
                       size_t stride) {
    const uint32_t begin = heads.first * head_width;
    views[i] = blocks_of(w, begin, heads.end() * head_width);
    products[i] = {.w = &views[i],
                   .packed = workspace.packed,
                   .tokens = count,
                   .y = y + begin / kLanes * kLanes,
                   .y_stride = stride};
  };
  set(0, weights.q, spec.attention.group_heads() * head_dim, workspace.q, strides.q);
  set(1, weights.k, head_dim, workspace.k, strides.kv);
  set(2, weights.v, head_dim, workspace.v, strides.kv);
  run_products(compute.pool, compute.kernels, products);
  uint64_t bytes = 0;
  for (const Product& product : products) bytes += product_weight_bytes(product);
  return bytes;
}

// From the projections to the cache.
Status finish_rows(const Compute& compute, const ModelSpec& spec, uint32_t layer,
                   const LayerWeights& weights, std::span<const StepRow> rows,
                   const AttentionPart& part, KvCache& cache, Workspace& workspace) {
  const AttentionSpec& attention = spec.attention;
  const auto count = static_cast<uint32_t>(rows.size());
  const size_t sums_of_row = size_t{2} * attention.kv_heads;
  const bool full = attention.qk_norm == QkNorm::kFullWidth;
  std::vector<float> sums(full ? count * sums_of_row : 0);
  const uint64_t work = attention.q_width() + uint64_t{2} * attention.kv_width();
  compute.pool.split(count, work, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      add_biases(compute.kernels, spec, weights, part.heads, row, workspace);
      if (!full) continue;
      square_sums(compute.kernels, spec, part.heads,
                  stretches_of(spec, weights, part.heads, row, workspace),
                  sums.data() + row * sums_of_row);
    }
  });
  if (full && part.share_sums) TRY_STATUS(part.share_sums(sums));
  compute.pool.split(count, work, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      const auto stretches = stretches_of(spec, weights, part.heads, row, workspace);
      norm_heads(compute.kernels, spec, stretches, sums.data() + (full ? row * sums_of_row : 0));
      finish_row(compute.kernels, spec, layer, rows[row], row, part.heads, stretches, cache,
                 workspace);
    }
  });
  return {};
}

// The output projection of one node of the head tree.
uint64_t project_node(const Compute& compute, const ModelSpec& spec, const LayerWeights& weights,
                      uint32_t count, HeadRange node, Workspace& workspace, float* y) {
  const uint32_t segment = spec.attention.group_heads() * spec.attention.head_dim;
  const MatrixView columns = columns_of(weights.o, node.first * segment, node.end() * segment);
  pack_rows(compute.pool, compute.kernels, workspace.attended + size_t{node.first} * segment,
            padded(spec.attention.q_width()), count, columns.cols, workspace.packed);
  const Product product = {.w = &columns,
                           .packed = workspace.packed,
                           .tokens = count,
                           .segment = segment,
                           .y = y,
                           .y_stride = padded(spec.hidden)};
  run_products(compute.pool, compute.kernels, {&product, 1});
  return product_weight_bytes(product);
}

}  // namespace

Status attention_block(const Compute& compute, const ModelSpec& spec, uint32_t layer,
                       const LayerWeights& weights, std::span<const StepRow> rows,
                       const AttentionPart& part, KvCache& cache, Workspace& workspace,
                       uint64_t& weight_bytes) {
  CHECK(part.nodes.size() == part.outputs.size());
  const auto count = static_cast<uint32_t>(rows.size());
  if (part.heads.count > 0) {
    weight_bytes += project(compute, spec, weights, count, part.heads, workspace);
  }
  TRY_STATUS(finish_rows(compute, spec, layer, weights, rows, part, cache, workspace));
  if (part.heads.count == 0) return {};
  attend(compute, spec, layer, rows, part.heads, cache, workspace);
  for (size_t i = 0; i < part.nodes.size(); ++i) {
    weight_bytes +=
        project_node(compute, spec, weights, count, part.nodes[i], workspace, part.outputs[i]);
  }
  return {};
}

}  // namespace switchyard
