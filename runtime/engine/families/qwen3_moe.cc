#include "runtime/engine/families/building_blocks.h"

namespace switchyard {
namespace {

// Releases of the reference disagree about which layers max_window_layers leaves whole, so a model
// whose result would depend on it is refused.
Status read_windows(ConfigReader& config, ModelSpec& spec) {
  constexpr std::string_view kKey = "max_window_layers";
  const uint32_t window = TRY(read_optional_window(config));
  const uint32_t first = TRY(config.count_or(kKey, {0, 1u << 30}, 0));
  if (window != 0 && first != 0)
    return config.refuse(kKey, "all layers of this family have the same attention");
  return set_uniform_window(config, window, spec);
}

}  // namespace

Result<ModelSpec> describe_qwen3_moe(ConfigReader& config) {
  const FamilyDefaults defaults{.kv_heads = 4,
                                .positions_max = 32768,
                                .top_k = 8,
                                .norm_eps = 1e-6,
                                .rope_theta = 10000,
                                .end_ids = {}};
  ModelSpec spec;
  TRY_STATUS(read_common(config, defaults, spec));
  TRY_STATUS(read_experts(config, defaults, "moe_intermediate_size", spec));
  TRY_STATUS(read_dense_layers(config, spec));
  TRY_STATUS(read_windows(config, spec));
  spec.moe.renormalise = TRY(config.flag_or("norm_topk_prob", false));
  spec.attention.qkv_bias = TRY(config.flag_or("attention_bias", false));
  spec.attention.output_bias = spec.attention.qkv_bias;
  spec.attention.qk_norm = QkNorm::kPerHead;

  spec.expert_names = mlp_expert_names;
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer) {
    LayerTensorNames names = attention_tensor_names(layer, spec.attention.qk_norm);
    if (spec.layers[layer].sparse)
      names.router = layer_prefix(layer) + "mlp.gate.weight";
    else
      add_dense_tensor_names(layer, names);
    spec.layer_names.push_back(std::move(names));
  }
  return spec;
}

}  // namespace switchyard
