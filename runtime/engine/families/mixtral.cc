#include <fmt/core.h>

#include "runtime/engine/families/building_blocks.h"

namespace switchyard {
namespace {

ExpertTensorNames expert_names(uint32_t layer, uint32_t expert) {
  const std::string prefix =
      fmt::format("{}block_sparse_moe.experts.{}.", layer_prefix(layer), expert);
  return {.gate = prefix + "w1.weight", .up = prefix + "w3.weight", .down = prefix + "w2.weight"};
}

}  // namespace

Result<ModelSpec> describe_mixtral(ConfigReader& config) {
  const FamilyDefaults defaults{.kv_heads = 8,
                                .positions_max = 131072,
                                .top_k = 2,
                                .norm_eps = 1e-5,
                                .rope_theta = 1e6,
                                .end_ids = {2}};
  ModelSpec spec;
  TRY_STATUS(read_common(config, defaults, spec));
  TRY_STATUS(read_experts(config, defaults, "intermediate_size", spec));
  const uint32_t window = TRY(config.count_or("sliding_window", {1, 1u << 30}, 0));
  TRY_STATUS(set_uniform_window(config, window, spec));
  spec.moe.renormalise = true;

  spec.expert_names = expert_names;
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer) {
    spec.layer_names.push_back(attention_tensor_names(layer, QkNorm::kNone));
    spec.layer_names.back().router = layer_prefix(layer) + "block_sparse_moe.gate.weight";
  }
  return spec;
}

}  // namespace switchyard
