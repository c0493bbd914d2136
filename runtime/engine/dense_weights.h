#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/device/slab.h"
#include "runtime/engine/model_source.h"
#include "runtime/kernels/matrix.h"

namespace switchyard {

// The weights of one layer that every token uses. Matrices and vectors the model lacks are empty.
struct LayerWeights {
  std::vector<float> input_norm, post_norm, q_norm, k_norm;
  std::vector<float> q_bias, k_bias, v_bias, o_bias;
  MatrixView q, k, v, o;
  MatrixView router;
  MatrixView gate, up, down;  // of the dense MLP or the shared expert
  MatrixView shared_router;
};

struct DenseWeights {
  MatrixView embedding;
  MatrixView output;  // the embedding again when tied
  std::vector<float> final_norm;
  std::vector<LayerWeights> layers;

  // Bytes of all of it.
  static Result<uint64_t> bytes(const ModelSource& source);
  // Reads all of it; the views point into memory that the result owns.
  static Result<DenseWeights> load(const ModelSource& source, const ByteProgress& progress);
  void touch() const { slab_.touch(); }

 private:
  Slab slab_;
};

// A dense matrix or vector as the model names it.
struct DenseTensor {
  std::string name;
  uint32_t rows = 0;  // 0: a vector
  uint32_t cols = 0;
};

// Every dense tensor of the model, each once, in the order they are used.
std::vector<DenseTensor> dense_tensors(const ModelSpec& spec);

}  // namespace switchyard
