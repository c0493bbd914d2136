#include "runtime/engine/families/building_blocks.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "runtime/engine/rope_spec.h"

namespace switchyard {
namespace {

constexpr uint32_t kLayersMax = 1024;
constexpr uint32_t kFamilyPositionsMax = 1u << 20;
constexpr CountRange kHidden{1, 1u << 17};
constexpr CountRange kIntermediate{1, 1u << 20};
constexpr CountRange kVocab{1, 1u << 22};
constexpr CountRange kHeads{1, 1024};
constexpr CountRange kHeadDim{2, 2048};
constexpr CountRange kExperts{0, 4096};
constexpr CountRange kAnyPositive{1, std::numeric_limits<int32_t>::max()};
constexpr CountRange kAny{0, std::numeric_limits<int32_t>::max()};

// An explicit null is as many as heads; an absent key is the class's default.
Result<uint32_t> read_kv_heads(ConfigReader& config, uint32_t heads, uint32_t absent) {
  constexpr std::string_view kKey = "num_key_value_heads";
  if (absent == 0 || config.is_explicit_null(kKey)) absent = heads;
  const uint32_t kv_heads = TRY(config.count_or(kKey, kHeads, absent));
  if (heads % kv_heads != 0)
    return fail(Code::kBadData,
                fmt::format("num_attention_heads {} is no multiple of num_key_value_heads {}",
                            heads, kv_heads),
                config.where());
  return kv_heads;
}

Result<uint32_t> read_head_dim(ConfigReader& config, uint32_t hidden, uint32_t heads) {
  const auto given = TRY(config.count("head_dim", kHeadDim));
  const uint32_t head_dim = given.value_or(hidden / heads);
  if (head_dim < kHeadDim.min || head_dim > kHeadDim.max || head_dim % 2 != 0)
    return fail(Code::kBadData,
                fmt::format("head_dim {} ({}) is not an even number from {} to {}", head_dim,
                            given ? "as given" : "hidden_size / num_attention_heads", kHeadDim.min,
                            kHeadDim.max),
                config.where());
  return head_dim;
}

Status read_attention(ConfigReader& config, const FamilyDefaults& defaults, ModelSpec& spec) {
  AttentionSpec& attention = spec.attention;
  attention.heads = TRY(config.required_count("num_attention_heads", kHeads));
  attention.kv_heads = TRY(read_kv_heads(config, attention.heads, defaults.kv_heads));
  attention.head_dim = TRY(read_head_dim(config, spec.hidden, attention.heads));
  attention.scale = static_cast<float>(1 / std::sqrt(static_cast<double>(attention.head_dim)));
  return {};
}

Status read_positions(ConfigReader& config, const FamilyDefaults& defaults, ModelSpec& spec) {
  const uint32_t positions =
      TRY(config.count_or("max_position_embeddings", kAnyPositive, defaults.positions_max));
  spec.positions_max = std::min(positions, kFamilyPositionsMax);
  if (positions > kFamilyPositionsMax)
    spec.warnings.push_back(
        fmt::format("max_position_embeddings {} is cut to {}", positions, kFamilyPositionsMax));
  const RopeContext context{spec.attention.head_dim, positions, defaults.rope_theta};
  spec.rope = TRY(read_rope(config, context, spec.warnings));
  return {};
}

Status check_activation(ConfigReader& config) {
  const auto activation = TRY(config.text("hidden_act"));
  if (activation && *activation != "silu" && *activation != "swish")
    return config.refuse("hidden_act", "only silu is computed here");
  return {};
}

Status read_end_ids(ConfigReader& config, const FamilyDefaults& defaults, ModelSpec& spec) {
  constexpr std::string_view kKey = "eos_token_id";
  if (!config.has(kKey) && !config.is_explicit_null(kKey)) spec.end_ids = defaults.end_ids;
  for (const uint32_t id : TRY(config.count_or_counts(kKey, 256, kAny)))
    spec.end_ids.push_back(static_cast<TokenId>(id));
  return {};
}

}  // namespace

Status read_common(ConfigReader& config, const FamilyDefaults& defaults, ModelSpec& spec) {
  spec.hidden = TRY(config.required_count("hidden_size", kHidden));
  spec.vocab = TRY(config.required_count("vocab_size", kVocab));
  spec.layers.resize(TRY(config.required_count("num_hidden_layers", {1, kLayersMax})));
  spec.norm_eps =
      static_cast<float>(TRY(config.number_or("rms_norm_eps", {0, 1}, defaults.norm_eps)));
  spec.tied_embeddings = TRY(config.flag_or("tie_word_embeddings", false));
  TRY_STATUS(check_activation(config));
  TRY_STATUS(read_attention(config, defaults, spec));
  TRY_STATUS(read_positions(config, defaults, spec));
  TRY_STATUS(read_end_ids(config, defaults, spec));
  spec.embedding_name = "model.embed_tokens.weight";
  spec.final_norm_name = "model.norm.weight";
  spec.output_name = spec.tied_embeddings ? spec.embedding_name : "lm_head.weight";
  return {};
}

Status read_experts(ConfigReader& config, const FamilyDefaults& defaults,
                    std::string_view intermediate_key, ModelSpec& spec) {
  const auto experts = TRY(config.count("num_experts", kExperts));
  const auto local_experts = TRY(config.count("num_local_experts", kExperts));
  if (experts && local_experts && *experts != *local_experts)
    return config.bad("num_experts", "but num_local_experts says otherwise");
  if (!experts && !local_experts) return config.missing("num_experts");
  spec.moe.experts = experts ? *experts : *local_experts;
  if (spec.moe.experts == 0)
    return config.refuse(experts ? "num_experts" : "num_local_experts",
                         "a model without experts is not computed here");
  spec.moe.top_k = TRY(config.count_or("num_experts_per_tok", {1, kExperts.max}, defaults.top_k));
  if (spec.moe.top_k > spec.moe.experts)
    return fail(Code::kBadData,
                fmt::format("num_experts_per_tok {} is more than the {} experts there are",
                            spec.moe.top_k, spec.moe.experts),
                config.where());
  spec.moe.intermediate = TRY(config.required_count(intermediate_key, kIntermediate));
  return {};
}

Status read_dense_layers(ConfigReader& config, ModelSpec& spec) {
  const uint32_t step = TRY(config.count_or("decoder_sparse_step", kAnyPositive, 1));
  const auto dense = TRY(config.counts("mlp_only_layers", kLayersMax, kAny));
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer)
    spec.layers[layer].sparse =
        (layer + 1) % step == 0 && std::find(dense.begin(), dense.end(), layer) == dense.end();
  const uint32_t sparse = spec.sparse_layers();
  if (sparse == 0)
    return fail(Code::kConfig,
                "decoder_sparse_step and mlp_only_layers leave no layer with experts",
                config.where());
  const auto intermediate = TRY(config.count("intermediate_size", kIntermediate));
  if (sparse == spec.layers.size()) return {};
  if (!intermediate) return config.missing("intermediate_size");
  spec.dense_intermediate = *intermediate;
  return {};
}

Result<uint32_t> read_optional_window(ConfigReader& config) {
  constexpr std::string_view kKey = "sliding_window";
  const bool used = TRY(config.flag_or("use_sliding_window", false));
  const uint32_t absent = config.is_explicit_null(kKey) ? 0 : 4096;
  const uint32_t window = TRY(config.count_or(kKey, kAny, absent));
  if (used && window == 0 && config.has(kKey))
    return config.bad(kKey, "but use_sliding_window is true");
  return used ? window : 0;
}

Result<std::vector<bool>> read_layer_types(ConfigReader& config, const ModelSpec& spec) {
  constexpr std::string_view kKey = "layer_types";
  const auto types = TRY(config.texts(kKey, kLayersMax));
  if (config.has(kKey) && types.size() != spec.layers.size())
    return config.bad(
        kKey, fmt::format("expected an entry for each of the {} layers", spec.layers.size()));
  std::vector<bool> windowed;
  for (const std::string& type : types) {
    if (type != "full_attention" && type != "attention" && type != "sliding_attention")
      return config.refuse(kKey, "only full_attention and sliding_attention are computed here");
    windowed.push_back(type == "sliding_attention");
  }
  return windowed;
}

Status set_uniform_window(ConfigReader& config, uint32_t window, ModelSpec& spec) {
  for (const bool windowed : TRY(read_layer_types(config, spec)))
    if (windowed != (window != 0))
      return config.refuse("layer_types", "all layers of this family have the same attention");
  for (LayerSpec& layer : spec.layers) layer.window = window;
  return {};
}

std::string layer_prefix(uint32_t layer) { return fmt::format("model.layers.{}.", layer); }

LayerTensorNames attention_tensor_names(uint32_t layer, QkNorm qk_norm) {
  const std::string prefix = layer_prefix(layer);
  LayerTensorNames names;
  names.input_norm = prefix + "input_layernorm.weight";
  names.post_norm = prefix + "post_attention_layernorm.weight";
  names.q = prefix + "self_attn.q_proj";
  names.k = prefix + "self_attn.k_proj";
  names.v = prefix + "self_attn.v_proj";
  names.o = prefix + "self_attn.o_proj";
  if (qk_norm != QkNorm::kNone) {
    names.q_norm = prefix + "self_attn.q_norm.weight";
    names.k_norm = prefix + "self_attn.k_norm.weight";
  }
  return names;
}

void add_dense_tensor_names(uint32_t layer, LayerTensorNames& names) {
  const std::string prefix = layer_prefix(layer) + "mlp.";
  names.dense_gate_proj = prefix + "gate_proj.weight";
  names.dense_up_proj = prefix + "up_proj.weight";
  names.dense_down_proj = prefix + "down_proj.weight";
}

ExpertTensorNames mlp_expert_names(uint32_t layer, uint32_t expert) {
  const std::string prefix = fmt::format("{}mlp.experts.{}.", layer_prefix(layer), expert);
  return {prefix + "gate_proj.weight", prefix + "up_proj.weight", prefix + "down_proj.weight"};
}

}  // namespace switchyard
