#pragma once

// The shapes of published models, for checkpoints without their weights.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/dtype.h"
#include "runtime/base/result.h"

namespace switchyard {

struct ModelShape {
  std::string_view name;    // as asked for: "olmoe-1b-7b"
  std::string_view family;  // model_type
  std::string_view architecture;
  uint32_t hidden = 0;
  uint32_t layers = 0;
  uint32_t heads = 0;
  uint32_t kv_heads = 0;
  uint32_t head_dim = 0;
  uint32_t experts = 0;
  uint32_t top_k = 0;
  uint32_t intermediate = 0;         // of a routed expert
  uint32_t shared_intermediate = 0;  // 0: no shared expert
  uint32_t vocab = 0;
  uint32_t positions = 0;
  double rope_theta = 0;
  double norm_eps = 0;
  bool renormalise = false;
};

std::span<const ModelShape> named_shapes();
// kUsage names those there are.
Result<ModelShape> find_shape(std::string_view name);

// As transformers 4 writes it.
std::string config_json(const ModelShape& shape, DType dtype);

}  // namespace switchyard
