#pragma once

// What a checkpoint's mathematics is, as values: made once from config.json by its family,
// validated, then read by everything else. No code outside families/ asks which family it is.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/expert_names.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

enum class QkNorm : uint8_t { kNone, kPerHead, kFullWidth };

struct AttentionSpec {
  uint32_t heads = 0;
  uint32_t kv_heads = 0;  // divides heads
  uint32_t head_dim = 0;  // even
  QkNorm qk_norm = QkNorm::kNone;
  bool qkv_bias = false;
  bool output_bias = false;
  float clip = 0;   // q, k and v are clipped to ±clip after the norm; 0: not
  float scale = 0;  // of q·k

  uint32_t group_heads() const { return heads / kv_heads; }
  uint32_t q_width() const { return heads * head_dim; }
  uint32_t kv_width() const { return kv_heads * head_dim; }
};

struct RopeSpec {
  std::vector<float> inverse_frequency;  // [head_dim / 2]
  float attention_factor = 1;            // multiplies cos and sin
  std::string kind;                      // "default", "linear", "yarn", "llama3"
};

struct MoeSpec {
  uint32_t experts = 0;
  uint32_t top_k = 0;
  uint32_t intermediate = 0;
  bool renormalise = false;
  uint32_t shared_intermediate = 0;  // 0: no shared expert; it has a sigmoid gate
};

struct LayerSpec {
  bool sparse = true;
  uint32_t window = 0;  // a query sees itself and window − 1 positions before; 0: all
};

// The checkpoint's names of a layer's tensors; "" where the family has none.
struct LayerTensorNames {
  std::string input_norm, q, k, v, o, q_norm, k_norm, post_norm;  // q, k, v, o without ".weight"
  std::string router;                                             // .weight
  std::string shared_gate_proj, shared_up_proj, shared_down_proj, shared_router;
  std::string dense_gate_proj, dense_up_proj, dense_down_proj;
};

struct ModelSpec {
  std::string family;  // as config.json's model_type
  uint32_t hidden = 0;
  uint32_t vocab = 0;
  uint32_t positions_max = 0;
  uint32_t dense_intermediate = 0;  // of the layers that are not sparse
  float norm_eps = 0;
  bool tied_embeddings = false;
  AttentionSpec attention;
  RopeSpec rope;
  MoeSpec moe;
  std::vector<LayerSpec> layers;
  std::vector<TokenId> end_ids;       // eos_token_id, one or a list
  std::vector<std::string> warnings;  // keys nobody knows; one line each

  std::string embedding_name, final_norm_name, output_name;
  std::vector<LayerTensorNames> layer_names;  // [layers]
  ExpertTensorNames (*expert_names)(uint32_t layer, uint32_t expert) = nullptr;

  uint32_t sparse_layers() const;
  // The layers that have routers, ascending.
  std::vector<uint16_t> router_layers() const;
  // Every routed expert: by layer, then as `order` ([layers that have routers][place in the expert
  // tree]) has it.
  std::vector<ExpertKey> expert_keys(const std::vector<std::vector<uint16_t>>& order) const;
};

// From config.json's text. kConfig (78): a family, RoPE kind or key this program does not compute,
// by name; kBadData (65): missing, absurd or contradictory values. `where` is the file's path.
Result<ModelSpec> parse_model_spec(std::string_view config_json, const std::string& where);

}  // namespace switchyard
