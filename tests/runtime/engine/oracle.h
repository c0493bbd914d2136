#pragma once

// A model's mathematics written down plainly in double, straight from a ModelSpec and named
// tensors: no cache, no batching, no tricks. What the engine is compared with where no reference
// output exists.

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "runtime/engine/model_spec.h"

namespace switchyard {

using Row = std::vector<double>;
using Rows = std::vector<Row>;
using NamedTensors = std::map<std::string, std::vector<float>>;  // row-major

class Oracle {
 public:
  Oracle(const ModelSpec& spec, const NamedTensors& tensors) : spec_(spec), tensors_(tensors) {}

  // Logits of every token.
  Rows logits(const std::vector<TokenId>& ids) const {
    Rows x;
    const auto& embedding = tensors_.at(spec_.embedding_name);
    for (const TokenId id : ids) {
      const auto begin = embedding.begin() + static_cast<ptrdiff_t>(id) * spec_.hidden;
      x.emplace_back(begin, begin + spec_.hidden);
    }
    for (uint32_t layer = 0; layer < spec_.layers.size(); ++layer) {
      const LayerTensorNames& names = spec_.layer_names[layer];
      add(x, attention(layer, norm(x, names.input_norm)));
      Rows update;
      for (const Row& row : norm(x, names.post_norm)) update.push_back(mlp(layer, row));
      add(x, update);
    }
    Rows out;
    for (const Row& row : norm(x, spec_.final_norm_name)) {
      out.push_back(product(spec_.output_name, row));
    }
    return out;
  }

 private:
  static void add(Rows& x, const Rows& update) {
    for (size_t t = 0; t < x.size(); ++t) {
      for (size_t i = 0; i < x[t].size(); ++i) x[t][i] += update[t][i];
    }
  }

  Row product(const std::string& name, const Row& x) const {
    const auto& w = tensors_.at(name);
    Row y(w.size() / x.size());
    for (size_t r = 0; r < y.size(); ++r) {
      for (size_t c = 0; c < x.size(); ++c) y[r] += static_cast<double>(w[r * x.size() + c]) * x[c];
    }
    return y;
  }

  Row projection(const std::string& name, const Row& x, bool biased) const {
    Row y = product(name + ".weight", x);
    for (size_t i = 0; biased && i < y.size(); ++i) y[i] += tensors_.at(name + ".bias")[i];
    return y;
  }

  void norm_in_place(double* x, size_t n, const std::string& name) const {
    double squares = 0;
    for (size_t i = 0; i < n; ++i) squares += x[i] * x[i];
    const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + spec_.norm_eps);
    for (size_t i = 0; i < n; ++i) x[i] *= factor * tensors_.at(name)[i];
  }

  Rows norm(Rows x, const std::string& name) const {
    for (Row& row : x) norm_in_place(row.data(), row.size(), name);
    return x;
  }

  void norm_heads(Row& x, const std::string& name) const {
    if (spec_.attention.qk_norm == QkNorm::kNone) return;
    const size_t width =
        spec_.attention.qk_norm == QkNorm::kPerHead ? spec_.attention.head_dim : x.size();
    for (size_t at = 0; at < x.size(); at += width) norm_in_place(x.data() + at, width, name);
  }

  void clip(Row& x) const {
    const double limit = spec_.attention.clip;
    for (double& value : x) value = limit == 0 ? value : std::clamp(value, -limit, limit);
  }

  void rotate(Row& x, size_t position) const {
    const size_t half = spec_.attention.head_dim / 2;
    for (size_t head = 0; head < x.size(); head += 2 * half) {
      for (size_t i = 0; i < half; ++i) {
        const float angle = static_cast<float>(position) * spec_.rope.inverse_frequency[i];
        const double factor = spec_.rope.attention_factor;
        const double c = std::cos(static_cast<double>(angle)) * factor;
        const double s = std::sin(static_cast<double>(angle)) * factor;
        const double a = x[head + i], b = x[head + half + i];
        x[head + i] = a * c - b * s;
        x[head + half + i] = b * c + a * s;
      }
    }
  }

  Rows attention(uint32_t layer, const Rows& normed) const {
    const AttentionSpec& shape = spec_.attention;
    const LayerTensorNames& names = spec_.layer_names[layer];
    Rows keys, values, out;
    for (size_t t = 0; t < normed.size(); ++t) {
      Row q = projection(names.q, normed[t], shape.qkv_bias);
      Row k = projection(names.k, normed[t], shape.qkv_bias);
      Row v = projection(names.v, normed[t], shape.qkv_bias);
      norm_heads(q, names.q_norm);
      norm_heads(k, names.k_norm);
      for (Row* row : {&q, &k, &v}) clip(*row);
      rotate(q, t);
      rotate(k, t);
      keys.push_back(std::move(k));
      values.push_back(std::move(v));
      out.push_back(projection(names.o, attend(layer, q, keys, values), shape.output_bias));
    }
    return out;
  }

  Row attend(uint32_t layer, const Row& q, const Rows& keys, const Rows& values) const {
    const AttentionSpec& shape = spec_.attention;
    const size_t window = spec_.layers[layer].window, count = keys.size();
    const size_t begin = window != 0 && count > window ? count - window : 0;
    Row out(q.size());
    for (size_t head = 0; head < shape.heads; ++head) {
      const size_t at = head * shape.head_dim;
      const size_t kv_at = head / shape.group_heads() * shape.head_dim;
      Row scores;
      for (size_t p = begin; p < count; ++p) {
        double score = 0;
        for (size_t i = 0; i < shape.head_dim; ++i) score += q[at + i] * keys[p][kv_at + i];
        scores.push_back(score * shape.scale);
      }
      softmax(scores);
      for (size_t p = begin; p < count; ++p) {
        for (size_t i = 0; i < shape.head_dim; ++i) {
          out[at + i] += scores[p - begin] * values[p][kv_at + i];
        }
      }
    }
    return out;
  }

  static void softmax(Row& x) {
    const double most = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (double& value : x) sum += value = std::exp(value - most);
    for (double& value : x) value /= sum;
  }

  Row gated(const std::string& gate, const std::string& up, const std::string& down,
            const Row& x) const {
    Row g = product(gate, x);
    const Row u = product(up, x);
    for (size_t i = 0; i < g.size(); ++i) g[i] = g[i] / (1 + std::exp(-g[i])) * u[i];
    return product(down, g);
  }

  Row mlp(uint32_t layer, const Row& x) const {
    const LayerTensorNames& names = spec_.layer_names[layer];
    if (!spec_.layers[layer].sparse) {
      return gated(names.dense_gate_proj, names.dense_up_proj, names.dense_down_proj, x);
    }
    Row scores = product(names.router, x);
    softmax(scores);
    std::vector<uint32_t> order(scores.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](uint32_t a, uint32_t b) { return scores[a] > scores[b]; });
    order.resize(spec_.moe.top_k);
    double sum = 0;
    for (const uint32_t expert : order) sum += scores[expert];
    Row out(x.size());
    for (const uint32_t expert : order) {
      const ExpertTensorNames of = spec_.expert_names(layer, expert);
      const Row y = gated(of.gate, of.up, of.down, x);
      const double weight = spec_.moe.renormalise ? scores[expert] / sum : scores[expert];
      for (size_t i = 0; i < out.size(); ++i) out[i] += weight * y[i];
    }
    if (spec_.moe.shared_intermediate == 0) return out;
    const double score = product(names.shared_router, x)[0];
    const Row y = gated(names.shared_gate_proj, names.shared_up_proj, names.shared_down_proj, x);
    for (size_t i = 0; i < out.size(); ++i) out[i] += y[i] / (1 + std::exp(-score));
    return out;
  }

  const ModelSpec& spec_;
  const NamedTensors& tensors_;
};

}  // namespace switchyard
