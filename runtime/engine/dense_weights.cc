#include "runtime/engine/dense_weights.h"

#include "runtime/base/align.h"

namespace switchyard {
namespace {

// Visits every dense tensor of the model with the place it has in `weights`: the one walk behind
// listing, measuring and loading. `matrix(name, rows, cols, view)`, `vector(name, n, values)`; each
// returns a Status.
template <class Matrix, class Vector>
Status walk_layer(const ModelSpec& spec, uint32_t index, LayerWeights& layer, const Matrix& matrix,
                  const Vector& vector) {
  const AttentionSpec& attention = spec.attention;
  const LayerTensorNames& names = spec.layer_names[index];
  const uint32_t hidden = spec.hidden;
  const auto projection = [&](const std::string& name, uint32_t rows, uint32_t cols,
                              MatrixView& view, bool biased, std::vector<float>& bias) -> Status {
    TRY_STATUS(matrix(name + ".weight", rows, cols, view));
    return biased ? vector(name + ".bias", rows, bias) : Status{};
  };
  TRY_STATUS(vector(names.input_norm, hidden, layer.input_norm));
  TRY_STATUS(
      projection(names.q, attention.q_width(), hidden, layer.q, attention.qkv_bias, layer.q_bias));
  TRY_STATUS(
      projection(names.k, attention.kv_width(), hidden, layer.k, attention.qkv_bias, layer.k_bias));
  TRY_STATUS(
      projection(names.v, attention.kv_width(), hidden, layer.v, attention.qkv_bias, layer.v_bias));
  if (attention.qk_norm != QkNorm::kNone) {
    const bool full = attention.qk_norm == QkNorm::kFullWidth;
    TRY_STATUS(vector(names.q_norm, full ? attention.q_width() : attention.head_dim, layer.q_norm));
    TRY_STATUS(
        vector(names.k_norm, full ? attention.kv_width() : attention.head_dim, layer.k_norm));
  }
  TRY_STATUS(projection(names.o, hidden, attention.q_width(), layer.o, attention.output_bias,
                        layer.o_bias));
  TRY_STATUS(vector(names.post_norm, hidden, layer.post_norm));
  if (!spec.layers[index].sparse) {
    TRY_STATUS(matrix(names.dense_gate_proj, spec.dense_intermediate, hidden, layer.gate));
    TRY_STATUS(matrix(names.dense_up_proj, spec.dense_intermediate, hidden, layer.up));
    return matrix(names.dense_down_proj, hidden, spec.dense_intermediate, layer.down);
  }
  TRY_STATUS(matrix(names.router, spec.moe.experts, hidden, layer.router));
  if (spec.moe.shared_intermediate == 0) return {};
  TRY_STATUS(matrix(names.shared_router, 1, hidden, layer.shared_router));
  TRY_STATUS(matrix(names.shared_gate_proj, spec.moe.shared_intermediate, hidden, layer.gate));
  TRY_STATUS(matrix(names.shared_up_proj, spec.moe.shared_intermediate, hidden, layer.up));
  return matrix(names.shared_down_proj, hidden, spec.moe.shared_intermediate, layer.down);
}

template <class Matrix, class Vector>
Status walk(const ModelSpec& spec, DenseWeights& weights, const Matrix& matrix,
            const Vector& vector) {
  TRY_STATUS(matrix(spec.embedding_name, spec.vocab, spec.hidden, weights.embedding));
  weights.layers.resize(spec.layers.size());
  for (uint32_t i = 0; i < spec.layers.size(); ++i) {
    TRY_STATUS(walk_layer(spec, i, weights.layers[i], matrix, vector));
  }
  TRY_STATUS(vector(spec.final_norm_name, spec.hidden, weights.final_norm));
  if (spec.tied_embeddings) return {};
  return matrix(spec.output_name, spec.vocab, spec.hidden, weights.output);
}

}  // namespace

std::vector<DenseTensor> dense_tensors(const ModelSpec& spec) {
  std::vector<DenseTensor> tensors;
  DenseWeights unused;
  const auto matrix = [&](const std::string& name, uint32_t rows, uint32_t cols,
                          MatrixView&) -> Status {
    tensors.push_back({name, rows, cols});
    return {};
  };
  const auto vector = [&](const std::string& name, uint32_t n, std::vector<float>&) -> Status {
    tensors.push_back({name, 0, n});
    return {};
  };
  (void)walk(spec, unused, matrix, vector);  // these visitors never fail
  return tensors;
}

Result<uint64_t> DenseWeights::bytes(const ModelSource& source) {
  uint64_t total = 0;
  for (const DenseTensor& tensor : dense_tensors(source.spec())) {
    if (tensor.rows == 0) {
      total += tensor.cols * sizeof(float);
      continue;
    }
    const DType dtype = TRY(source.matrix_dtype(tensor.name, tensor.rows, tensor.cols));
    total += round_up(matrix_bytes(dtype, tensor.rows, tensor.cols), 64);
  }
  return total;
}

Result<DenseWeights> DenseWeights::load(const ModelSource& source, const ByteProgress& progress) {
  DenseWeights weights;
  weights.slab_ = TRY(Slab::allocate(TRY(bytes(source)), "dense weights"));
  uint64_t used = 0;
  const auto matrix = [&](const std::string& name, uint32_t rows, uint32_t cols,
                          MatrixView& view) -> Status {
    const DType dtype = TRY(source.matrix_dtype(name, rows, cols));
    const std::span<std::byte> out =
        weights.slab_.span().subspan(used, matrix_bytes(dtype, rows, cols));
    const uint64_t before = used;
    const auto report = [&](uint64_t done) {
      if (progress) progress(before + done);
    };
    TRY_STATUS(source.load_matrix(name, rows, cols, out, report));
    view = {.data = out.data(), .dtype = dtype, .rows = rows, .cols = cols};
    used += round_up(out.size(), 64);
    return {};
  };
  const auto vector = [&](const std::string& name, uint32_t n,
                          std::vector<float>& values) -> Status {
    values = TRY(source.load_vector(name, n));
    return {};
  };
  TRY_STATUS(walk(source.spec(), weights, matrix, vector));
  if (source.spec().tied_embeddings) weights.output = weights.embedding;
  return weights;
}

}  // namespace switchyard
