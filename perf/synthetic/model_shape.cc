#include "perf/synthetic/model_shape.h"

#include <array>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

constexpr std::array kShapes = {
    ModelShape{.name = "olmoe-1b-7b",
               .family = "olmoe",
               .architecture = "OlmoeForCausalLM",
               .hidden = 2048,
               .layers = 16,
               .heads = 16,
               .kv_heads = 16,
               .head_dim = 128,
               .experts = 64,
               .top_k = 8,
               .intermediate = 1024,
               .vocab = 50304,
               .positions = 4096,
               .rope_theta = 10000,
               .norm_eps = 1e-5},
    ModelShape{.name = "qwen3-30b-a3b",
               .family = "qwen3_moe",
               .architecture = "Qwen3MoeForCausalLM",
               .hidden = 2048,
               .layers = 48,
               .heads = 32,
               .kv_heads = 4,
               .head_dim = 128,
               .experts = 128,
               .top_k = 8,
               .intermediate = 768,
               .vocab = 151936,
               .positions = 40960,
               .rope_theta = 1e6,
               .norm_eps = 1e-6,
               .renormalise = true},
    ModelShape{.name = "mixtral-8x7b",
               .family = "mixtral",
               .architecture = "MixtralForCausalLM",
               .hidden = 4096,
               .layers = 32,
               .heads = 32,
               .kv_heads = 8,
               .head_dim = 128,
               .experts = 8,
               .top_k = 2,
               .intermediate = 14336,
               .vocab = 32000,
               .positions = 32768,
               .rope_theta = 1e6,
               .norm_eps = 1e-5,
               .renormalise = true},
    ModelShape{.name = "qwen1.5-moe-a2.7b",
               .family = "qwen2_moe",
               .architecture = "Qwen2MoeForCausalLM",
               .hidden = 2048,
               .layers = 24,
               .heads = 16,
               .kv_heads = 16,
               .head_dim = 128,
               .experts = 60,
               .top_k = 4,
               .intermediate = 1408,
               .shared_intermediate = 5632,
               .vocab = 151936,
               .positions = 8192,
               .rope_theta = 1e6,
               .norm_eps = 1e-6},
};

const char* torch_name(DType dtype) {
  switch (dtype) {
    case DType::kF32:
      return "float32";
    case DType::kBF16:
      return "bfloat16";
    case DType::kF16:
      return "float16";
  }
  return "?";
}

// The keys that only some families have.
void add_family_keys(const ModelShape& shape, nlohmann::json& config) {
  const bool qwen = shape.family.starts_with("qwen");
  config[shape.family == "mixtral" ? "num_local_experts" : "num_experts"] = shape.experts;
  config[qwen ? "moe_intermediate_size" : "intermediate_size"] = shape.intermediate;
  if (shape.family != "mixtral") config["norm_topk_prob"] = shape.renormalise;
  if (shape.family == "mixtral") config["sliding_window"] = nullptr;
  if (shape.family == "qwen3_moe") config["head_dim"] = shape.head_dim;
  if (!qwen) return;
  config["decoder_sparse_step"] = 1;
  config["mlp_only_layers"] = nlohmann::json::array();
  config["use_sliding_window"] = false;
  config["sliding_window"] = nullptr;
  config["max_window_layers"] = shape.layers;
  if (shape.shared_intermediate > 0) {
    config["shared_expert_intermediate_size"] = shape.shared_intermediate;
  }
}

}  // namespace

std::span<const ModelShape> named_shapes() { return kShapes; }

Result<ModelShape> find_shape(std::string_view name) {
  std::string known;
  for (const ModelShape& shape : kShapes) {
    if (shape.name == name) return shape;
    known += (known.empty() ? "" : ", ") + std::string(shape.name);
  }
  return fail(Code::kUsage, "no shape is named '" + std::string(name) + "'", {}, "use " + known);
}

std::string config_json(const ModelShape& shape, DType dtype) {
  nlohmann::json config = {{"architectures", {shape.architecture}},
                           {"model_type", shape.family},
                           {"hidden_act", "silu"},
                           {"hidden_size", shape.hidden},
                           {"num_hidden_layers", shape.layers},
                           {"num_attention_heads", shape.heads},
                           {"num_key_value_heads", shape.kv_heads},
                           {"num_experts_per_tok", shape.top_k},
                           {"vocab_size", shape.vocab},
                           {"max_position_embeddings", shape.positions},
                           {"rope_theta", shape.rope_theta},
                           {"rms_norm_eps", shape.norm_eps},
                           {"tie_word_embeddings", false},
                           {"bos_token_id", nullptr},
                           {"eos_token_id", nullptr},
                           {"torch_dtype", torch_name(dtype)}};
  add_family_keys(shape, config);
  return config.dump(2) + "\n";
}

}  // namespace switchyard
