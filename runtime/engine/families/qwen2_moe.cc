#include "runtime/engine/families/building_blocks.h"

namespace switchyard {
namespace {

// Without layer_types every other layer has the window, the first one too, below
// max_window_layers.
Status read_layer_windows(ConfigReader& config, ModelSpec& spec) {
  const uint32_t window = TRY(read_optional_window(config));
  const bool used = TRY(config.flag_or("use_sliding_window", false));
  const uint32_t limit = TRY(config.count_or("max_window_layers", {0, 1u << 30}, 28));
  std::vector<bool> windowed = TRY(read_layer_types(config, spec));
  for (uint32_t layer = 0; windowed.size() < spec.layers.size(); ++layer)
    windowed.push_back(used && layer % 2 == 0 && layer < limit);
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer) {
    if (!windowed[layer]) continue;
    if (window == 0) return config.bad("sliding_window", "but layers with a window need one");
    spec.layers[layer].window = window;
  }
  return {};
}

LayerTensorNames tensor_names(uint32_t layer, bool sparse) {
  LayerTensorNames names = attention_tensor_names(layer, QkNorm::kNone);
  if (!sparse) {
    add_dense_tensor_names(layer, names);
    return names;
  }
  const std::string prefix = layer_prefix(layer) + "mlp.";
  names.router = prefix + "gate.weight";
  names.shared_gate_proj = prefix + "shared_expert.gate_proj.weight";
  names.shared_up_proj = prefix + "shared_expert.up_proj.weight";
  names.shared_down_proj = prefix + "shared_expert.down_proj.weight";
  names.shared_router = prefix + "shared_expert_gate.weight";
  return names;
}

}  // namespace

Result<ModelSpec> describe_qwen2_moe(ConfigReader& config) {
  const FamilyDefaults defaults{.kv_heads = 16,
                                .positions_max = 32768,
                                .top_k = 4,
                                .norm_eps = 1e-6,
                                .rope_theta = 10000,
                                .end_ids = {}};
  ModelSpec spec;
  TRY_STATUS(read_common(config, defaults, spec));
  TRY_STATUS(read_experts(config, defaults, "moe_intermediate_size", spec));
  TRY_STATUS(read_dense_layers(config, spec));
  TRY_STATUS(read_layer_windows(config, spec));
  spec.moe.renormalise = TRY(config.flag_or("norm_topk_prob", false));
  spec.moe.shared_intermediate =
      TRY(config.required_count("shared_expert_intermediate_size", {1, 1u << 20}));
  spec.attention.qkv_bias = TRY(config.flag_or("qkv_bias", true));

  spec.expert_names = mlp_expert_names;
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer)
    spec.layer_names.push_back(tensor_names(layer, spec.layers[layer].sparse));
  return spec;
}

}  // namespace switchyard
