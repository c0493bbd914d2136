#include <fmt/core.h>

#include "runtime/engine/families/building_blocks.h"

namespace switchyard {

Result<ModelSpec> describe_olmoe(ConfigReader& config) {
  const FamilyDefaults defaults{.kv_heads = 0,
                                .positions_max = 4096,
                                .top_k = 8,
                                .norm_eps = 1e-5,
                                .rope_theta = 10000,
                                .end_ids = {50279}};
  ModelSpec spec;
  TRY_STATUS(read_common(config, defaults, spec));
  TRY_STATUS(read_experts(config, defaults, "intermediate_size", spec));
  TRY_STATUS(set_uniform_window(config, 0, spec));
  spec.moe.renormalise = TRY(config.flag_or("norm_topk_prob", false));
  AttentionSpec& attention = spec.attention;
  attention.qkv_bias = TRY(config.flag_or("attention_bias", false));
  attention.output_bias = attention.qkv_bias;
  attention.clip = static_cast<float>(TRY(config.number_or("clip_qkv", {1e-30, 1e30}, 0)));
  attention.qk_norm = QkNorm::kFullWidth;
  // The norm over q is as wide as the model.
  if (attention.q_width() != spec.hidden)
    return fail(Code::kBadData,
                fmt::format("hidden_size {} is not num_attention_heads {} x head_dim {}",
                            spec.hidden, attention.heads, attention.head_dim),
                config.where());

  spec.expert_names = mlp_expert_names;
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer) {
    spec.layer_names.push_back(attention_tensor_names(layer, attention.qk_norm));
    spec.layer_names.back().router = layer_prefix(layer) + "mlp.gate.weight";
  }
  return spec;
}

}  // namespace switchyard
