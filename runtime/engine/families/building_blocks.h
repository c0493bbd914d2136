#pragma once

// What the families' descriptions are put together from. Each reads its own keys, checks them and
// fills its own part of the ModelSpec; errors are those of parse_model_spec.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/engine/config_reader.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {

// What the reference's configuration class says where config.json is silent.
struct FamilyDefaults {
  uint32_t kv_heads = 0;  // 0: as many as heads
  uint32_t positions_max = 0;
  uint32_t top_k = 0;
  double norm_eps = 0;
  double rope_theta = 0;
  std::vector<TokenId> end_ids;
};

// Dimensions, attention without biases and norms, RoPE, end ids and the names outside layers. All
// layers are made sparse and without a window.
Status read_common(ConfigReader& config, const FamilyDefaults& defaults, ModelSpec& spec);

// Experts and top-k; the experts' width is under `intermediate_key`.
Status read_experts(ConfigReader& config, const FamilyDefaults& defaults,
                    std::string_view intermediate_key, ModelSpec& spec);

// decoder_sparse_step, mlp_only_layers and, where they leave a layer dense, intermediate_size.
Status read_dense_layers(ConfigReader& config, ModelSpec& spec);

// sliding_window where use_sliding_window is true, else 0. 4096 where the file says nothing.
Result<uint32_t> read_optional_window(ConfigReader& config);

// layer_types: true for a layer with a window; empty where the file has none.
Result<std::vector<bool>> read_layer_types(ConfigReader& config, const ModelSpec& spec);

// Gives every layer `window`. layer_types may be there as long as they say the same.
Status set_uniform_window(ConfigReader& config, uint32_t window, ModelSpec& spec);

// The usual names: norms, q, k, v, o, and under "mlp." router, experts, dense and shared parts.
std::string layer_prefix(uint32_t layer);
LayerTensorNames attention_tensor_names(uint32_t layer, QkNorm qk_norm);
void add_dense_tensor_names(uint32_t layer, LayerTensorNames& names);
ExpertTensorNames mlp_expert_names(uint32_t layer, uint32_t expert);

}  // namespace switchyard
