#include "runtime/engine/model_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/engine/fixture_config.h"

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

ModelSpec parse_fixture(const std::string& name) {
  Result<ModelSpec> spec = parse_changed(name, "{}");
  EXPECT_TRUE(spec) << to_line(spec.error());
  return spec ? *spec : ModelSpec{};
}

std::vector<uint32_t> windows(const ModelSpec& spec) {
  std::vector<uint32_t> result;
  for (const LayerSpec& layer : spec.layers) result.push_back(layer.window);
  return result;
}

TEST(ModelSpecFixtures, Mixtral) {
  const ModelSpec spec = parse_fixture("mixtral");
  EXPECT_EQ(spec.family, "mixtral");
  EXPECT_EQ(spec.hidden, 64u);
  EXPECT_EQ(spec.vocab, 320u);
  EXPECT_EQ(spec.positions_max, 256u);
  EXPECT_EQ(spec.norm_eps, 1e-5f);
  EXPECT_FALSE(spec.tied_embeddings);
  EXPECT_EQ(spec.attention.heads, 4u);
  EXPECT_EQ(spec.attention.kv_heads, 2u);
  EXPECT_EQ(spec.attention.head_dim, 16u);
  EXPECT_EQ(spec.attention.scale, 0.25f);
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kNone);
  EXPECT_FALSE(spec.attention.qkv_bias);
  EXPECT_FALSE(spec.attention.output_bias);
  EXPECT_EQ(spec.moe.experts, 8u);
  EXPECT_EQ(spec.moe.top_k, 2u);
  EXPECT_EQ(spec.moe.intermediate, 96u);
  EXPECT_TRUE(spec.moe.renormalise);
  EXPECT_EQ(spec.moe.shared_intermediate, 0u);
  EXPECT_EQ(spec.sparse_layers(), 3u);
  EXPECT_THAT(windows(spec), ElementsAre(0, 0, 0));
  EXPECT_THAT(spec.end_ids, ElementsAre(2));
  EXPECT_THAT(spec.warnings, IsEmpty());
  EXPECT_EQ(spec.embedding_name, "model.embed_tokens.weight");
  EXPECT_EQ(spec.final_norm_name, "model.norm.weight");
  EXPECT_EQ(spec.output_name, "lm_head.weight");
}

TEST(ModelSpecFixtures, MixtralTensorNames) {
  const ModelSpec spec = parse_fixture("mixtral");
  ASSERT_THAT(spec.layer_names, SizeIs(3));
  const LayerTensorNames& names = spec.layer_names[2];
  EXPECT_EQ(names.input_norm, "model.layers.2.input_layernorm.weight");
  EXPECT_EQ(names.post_norm, "model.layers.2.post_attention_layernorm.weight");
  EXPECT_EQ(names.q, "model.layers.2.self_attn.q_proj");
  EXPECT_EQ(names.k, "model.layers.2.self_attn.k_proj");
  EXPECT_EQ(names.v, "model.layers.2.self_attn.v_proj");
  EXPECT_EQ(names.o, "model.layers.2.self_attn.o_proj");
  EXPECT_EQ(names.q_norm, "");
  EXPECT_EQ(names.router, "model.layers.2.block_sparse_moe.gate.weight");
  EXPECT_EQ(names.dense_gate_proj, "");
  EXPECT_EQ(names.shared_router, "");
  const ExpertTensorNames expert = spec.expert_names(2, 7);
  EXPECT_EQ(expert.gate, "model.layers.2.block_sparse_moe.experts.7.w1.weight");
  EXPECT_EQ(expert.up, "model.layers.2.block_sparse_moe.experts.7.w3.weight");
  EXPECT_EQ(expert.down, "model.layers.2.block_sparse_moe.experts.7.w2.weight");
}

TEST(ModelSpecFixtures, MixtralVariants) {
  const ModelSpec windowed = parse_fixture("mixtral-swa");
  EXPECT_THAT(windows(windowed), ElementsAre(16, 16, 16));
  EXPECT_EQ(windowed.moe.experts, 4u);
  EXPECT_THAT(windowed.warnings, IsEmpty());
  EXPECT_EQ(parse_fixture("mixtral-linear").rope.kind, "linear");
}

TEST(ModelSpecFixtures, Olmoe) {
  const ModelSpec spec = parse_fixture("olmoe");
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kFullWidth);
  EXPECT_EQ(spec.attention.kv_heads, 4u);
  EXPECT_EQ(spec.attention.clip, 0);
  EXPECT_FALSE(spec.moe.renormalise);
  EXPECT_EQ(spec.moe.experts, 16u);
  EXPECT_EQ(spec.moe.top_k, 4u);
  EXPECT_EQ(spec.moe.intermediate, 48u);
  EXPECT_THAT(spec.warnings, IsEmpty());
  const LayerTensorNames& names = spec.layer_names[1];
  EXPECT_EQ(names.q_norm, "model.layers.1.self_attn.q_norm.weight");
  EXPECT_EQ(names.k_norm, "model.layers.1.self_attn.k_norm.weight");
  EXPECT_EQ(names.router, "model.layers.1.mlp.gate.weight");
  const ExpertTensorNames expert = spec.expert_names(0, 15);
  EXPECT_EQ(expert.gate, "model.layers.0.mlp.experts.15.gate_proj.weight");
  EXPECT_EQ(expert.up, "model.layers.0.mlp.experts.15.up_proj.weight");
  EXPECT_EQ(expert.down, "model.layers.0.mlp.experts.15.down_proj.weight");
  EXPECT_EQ(parse_fixture("olmoe-llama3").rope.kind, "llama3");
}

TEST(ModelSpecFixtures, Qwen2Moe) {
  const ModelSpec spec = parse_fixture("qwen2_moe");
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kNone);
  EXPECT_TRUE(spec.attention.qkv_bias);
  EXPECT_FALSE(spec.attention.output_bias);
  EXPECT_EQ(spec.moe.shared_intermediate, 80u);
  EXPECT_EQ(spec.dense_intermediate, 128u);
  EXPECT_FALSE(spec.layers[0].sparse);
  EXPECT_TRUE(spec.layers[1].sparse);
  EXPECT_EQ(spec.sparse_layers(), 2u);
  EXPECT_THAT(windows(spec), ElementsAre(0, 0, 0));
  EXPECT_THAT(spec.warnings, IsEmpty());
  EXPECT_EQ(spec.layer_names[0].dense_gate_proj, "model.layers.0.mlp.gate_proj.weight");
  EXPECT_EQ(spec.layer_names[0].dense_up_proj, "model.layers.0.mlp.up_proj.weight");
  EXPECT_EQ(spec.layer_names[0].dense_down_proj, "model.layers.0.mlp.down_proj.weight");
  EXPECT_EQ(spec.layer_names[0].router, "");
  EXPECT_EQ(spec.layer_names[1].router, "model.layers.1.mlp.gate.weight");
  EXPECT_EQ(spec.layer_names[1].shared_router, "model.layers.1.mlp.shared_expert_gate.weight");
  EXPECT_EQ(spec.layer_names[1].shared_gate_proj,
            "model.layers.1.mlp.shared_expert.gate_proj.weight");
  EXPECT_EQ(spec.layer_names[1].shared_up_proj, "model.layers.1.mlp.shared_expert.up_proj.weight");
  EXPECT_EQ(spec.layer_names[1].shared_down_proj,
            "model.layers.1.mlp.shared_expert.down_proj.weight");
}

TEST(ModelSpecFixtures, Qwen3Moe) {
  const ModelSpec spec = parse_fixture("qwen3_moe");
  EXPECT_EQ(spec.attention.qk_norm, QkNorm::kPerHead);
  EXPECT_EQ(spec.attention.head_dim, 32u);
  EXPECT_EQ(spec.attention.q_width(), 128u);
  EXPECT_EQ(spec.attention.kv_width(), 64u);
  EXPECT_FALSE(spec.attention.qkv_bias);
  EXPECT_TRUE(spec.moe.renormalise);
  EXPECT_EQ(spec.moe.experts, 16u);
  EXPECT_EQ(spec.norm_eps, 1e-6f);
  EXPECT_EQ(spec.dense_intermediate, 0u);
  EXPECT_THAT(spec.warnings, IsEmpty());
  EXPECT_THAT(parse_fixture("qwen3_moe-yarn").warnings, IsEmpty());
}

// --- Keys that are honoured ------------------------------------------------------------------

TEST(ModelSpecKeys, DefaultsOfTheConfigurationClasses) {
  const std::vector<std::string> optional = {"num_key_value_heads", "max_position_embeddings",
                                             "rms_norm_eps",        "num_experts_per_tok",
                                             "tie_word_embeddings", "hidden_act",
                                             "eos_token_id",        "norm_topk_prob",
                                             "rope_theta",          "rope_scaling",
                                             "rope_parameters",     "qkv_bias",
                                             "attention_bias",      "mlp_only_layers",
                                             "decoder_sparse_step", "head_dim",
                                             "sliding_window",      "layer_types"};
  const auto mixtral = parse_changed("mixtral", R"({"num_attention_heads": 8})", optional).value();
  EXPECT_EQ(mixtral.attention.kv_heads, 8u);
  EXPECT_EQ(mixtral.positions_max, 131072u);
  EXPECT_EQ(mixtral.norm_eps, 1e-5f);
  EXPECT_EQ(mixtral.moe.top_k, 2u);
  EXPECT_THAT(mixtral.end_ids, ElementsAre(2));
  EXPECT_FLOAT_EQ(mixtral.rope.inverse_frequency[1], 1.0f / 31.622776f);  // 1e6^(-1/4)

  const auto olmoe = parse_changed("olmoe", "{}", optional).value();
  EXPECT_EQ(olmoe.attention.kv_heads, 4u);
  EXPECT_EQ(olmoe.positions_max, 4096u);
  EXPECT_EQ(olmoe.norm_eps, 1e-5f);
  EXPECT_EQ(olmoe.moe.top_k, 8u);
  EXPECT_FALSE(olmoe.moe.renormalise);
  EXPECT_THAT(olmoe.end_ids, ElementsAre(50279));

  const auto qwen2 = parse_changed("qwen2_moe", R"({"num_attention_heads": 32})", optional).value();
  EXPECT_EQ(qwen2.attention.kv_heads, 16u);
  EXPECT_EQ(qwen2.attention.head_dim, 2u);
  EXPECT_EQ(qwen2.norm_eps, 1e-6f);
  EXPECT_EQ(qwen2.moe.top_k, 4u);
  EXPECT_TRUE(qwen2.attention.qkv_bias);
  EXPECT_EQ(qwen2.sparse_layers(), 3u);
  EXPECT_THAT(qwen2.end_ids, IsEmpty());

  const auto qwen3 = parse_changed("qwen3_moe", "{}", optional).value();
  EXPECT_EQ(qwen3.attention.kv_heads, 4u);
  EXPECT_EQ(qwen3.attention.head_dim, 16u);
  EXPECT_EQ(qwen3.moe.top_k, 8u);
  EXPECT_FALSE(qwen3.moe.renormalise);
  EXPECT_FALSE(qwen3.attention.qkv_bias);
  EXPECT_EQ(qwen3.positions_max, 32768u);
}

TEST(ModelSpecKeys, NullKeyValueHeadsAreAsManyAsHeads) {
  for (const char* name : {"mixtral", "olmoe", "qwen2_moe", "qwen3_moe"}) {
    const auto spec = parse_changed(name, R"({"num_key_value_heads": null})").value();
    EXPECT_EQ(spec.attention.kv_heads, 4u) << name;
  }
}

TEST(ModelSpecKeys, BothSpellingsOfExperts) {
  for (const char* name : {"mixtral", "olmoe", "qwen2_moe", "qwen3_moe"})
    for (const char* changes : {R"({"num_experts": 5})", R"({"num_local_experts": 5})",
                                R"({"num_experts": 5, "num_local_experts": 5})",
                                R"({"num_experts": 5, "num_local_experts": null})"}) {
      const auto spec = parse_changed(name, changes, {"num_experts", "num_local_experts"});
      ASSERT_TRUE(spec) << name << changes << to_line(spec.error());
      EXPECT_EQ(spec->moe.experts, 5u);
      EXPECT_THAT(spec->warnings, IsEmpty());
    }
}

TEST(ModelSpecKeys, HeadDimNeedNotDivideTheHiddenSize) {
  EXPECT_EQ(parse_changed("mixtral", R"({"head_dim": 6})")->attention.q_width(), 24u);
  EXPECT_EQ(parse_changed("mixtral", R"({"hidden_size": 66})")->attention.head_dim, 16u);
}

TEST(ModelSpecKeys, Biases) {
  for (const char* name : {"qwen3_moe", "olmoe"}) {
    const auto spec = parse_changed(name, R"({"attention_bias": true})").value();
    EXPECT_TRUE(spec.attention.qkv_bias) << name;
    EXPECT_TRUE(spec.attention.output_bias) << name;
  }
  EXPECT_FALSE(parse_changed("qwen2_moe", R"({"qkv_bias": false})")->attention.qkv_bias);
}

TEST(ModelSpecKeys, Olmoe) {
  EXPECT_EQ(parse_changed("olmoe", R"({"clip_qkv": 8})")->attention.clip, 8);
  EXPECT_TRUE(parse_changed("olmoe", R"({"norm_topk_prob": true})")->moe.renormalise);
  EXPECT_EQ(parse_changed("olmoe", R"({"num_key_value_heads": 2})")->attention.kv_width(), 32u);
}

TEST(ModelSpecKeys, TopOneAndTiedEmbeddings) {
  const auto spec =
      parse_changed("qwen3_moe", R"({"num_experts_per_tok": 1, "tie_word_embeddings": true})")
          .value();
  EXPECT_EQ(spec.moe.top_k, 1u);
  EXPECT_TRUE(spec.tied_embeddings);
  EXPECT_EQ(spec.output_name, spec.embedding_name);
}

TEST(ModelSpecKeys, SparseStepAndDenseLayers) {
  const auto spec = parse_changed("qwen3_moe", R"({"num_hidden_layers": 7,
      "decoder_sparse_step": 2, "mlp_only_layers": [3, 99]})")
                        .value();
  std::vector<bool> sparse;
  for (const LayerSpec& layer : spec.layers) sparse.push_back(layer.sparse);
  EXPECT_THAT(sparse, ElementsAre(false, true, false, false, false, true, false));
  EXPECT_EQ(spec.dense_intermediate, 128u);
  EXPECT_EQ(spec.layer_names[3].router, "");
  EXPECT_EQ(spec.layer_names[3].dense_down_proj, "model.layers.3.mlp.down_proj.weight");
}

TEST(ModelSpecKeys, SwishIsSilu) {
  EXPECT_TRUE(parse_changed("mixtral", R"({"hidden_act": "swish"})"));
}

TEST(ModelSpecKeys, EndIds) {
  EXPECT_THAT(parse_changed("mixtral", R"({"eos_token_id": [7, 9, 7]})")->end_ids,
              ElementsAre(7, 9));
  EXPECT_THAT(parse_changed("mixtral", R"({"eos_token_id": null})")->end_ids, IsEmpty());
  EXPECT_THAT(parse_changed("mixtral", R"({"eos_token_id": 0})")->end_ids, ElementsAre(0));
}

TEST(ModelSpecWindows, Qwen3WindowsAllLayersOrNone) {
  EXPECT_THAT(windows(*parse_changed("qwen3_moe", R"({"sliding_window": 9})")),
              ElementsAre(0, 0, 0));
  EXPECT_THAT(
      windows(*parse_changed("qwen3_moe", R"({"sliding_window": 9, "use_sliding_window": true})")),
      ElementsAre(9, 9, 9));
  EXPECT_THAT(
      windows(*parse_changed("qwen3_moe", R"({"use_sliding_window": true})", {"sliding_window"})),
      ElementsAre(4096, 4096, 4096));
  EXPECT_THAT(windows(*parse_changed("qwen3_moe", R"({"use_sliding_window": true})")),
              ElementsAre(0, 0, 0));  // the fixture's window is null
}

TEST(ModelSpecWindows, Qwen2AlternatesBelowMaxWindowLayers) {
  const std::string five = R"({"num_hidden_layers": 5, "sliding_window": 9,
                              "use_sliding_window": true})";
  EXPECT_THAT(windows(*parse_changed("qwen2_moe", five, {"layer_types"})),
              ElementsAre(9, 0, 9, 0, 9));
  auto limited = nlohmann::json::parse(five);
  limited["max_window_layers"] = 3;
  EXPECT_THAT(windows(*parse_changed("qwen2_moe", limited.dump(), {"layer_types"})),
              ElementsAre(9, 0, 9, 0, 0));
}

TEST(ModelSpecWindows, LayerTypesRule) {
  EXPECT_THAT(windows(*parse_changed("qwen2_moe", R"({"sliding_window": 9,
      "use_sliding_window": true,
      "layer_types": ["full_attention", "sliding_attention", "full_attention"]})")),
              ElementsAre(0, 9, 0));
  EXPECT_THAT(windows(*parse_changed("mixtral-swa", R"({"layer_types": ["sliding_attention",
      "sliding_attention", "sliding_attention"]})")),
              ElementsAre(16, 16, 16));
}

// --- Warnings --------------------------------------------------------------------------------

TEST(ModelSpecWarnings, UnknownKeysAreNamedOnce) {
  const auto spec = parse_changed("mixtral", R"({"foo": 3, "bar": null, "baz": false,
      "list": [], "text": "", "top_p": 0.9, "quantization_config": null})")
                        .value();
  EXPECT_THAT(spec.warnings, ElementsAre("config key 'foo' is not known and has no effect"));
}

TEST(ModelSpecWarnings, RopeKeysToo) {
  const auto spec = parse_changed("mixtral", R"({"rope_parameters":
      {"rope_type": "default", "rope_theta": 10000.0, "spin": 1}})")
                        .value();
  EXPECT_THAT(spec.warnings,
              ElementsAre("config key 'rope_parameters.spin' is not known and has no effect"));
}

TEST(ModelSpecWarnings, ManyUnknownKeysAreCounted) {
  nlohmann::json keys;
  for (int i = 0; i < 40; ++i) keys["zz" + std::to_string(i)] = i;
  const auto spec = parse_changed("olmoe", keys.dump()).value();
  EXPECT_THAT(spec.warnings, SizeIs(33));
  EXPECT_EQ(spec.warnings.back(), "8 more config keys are not known");
}

TEST(ModelSpecWarnings, LongContextIsCut) {
  const auto spec = parse_changed("mixtral", R"({"max_position_embeddings": 9000000})").value();
  EXPECT_EQ(spec.positions_max, 1u << 20);
  EXPECT_THAT(spec.warnings, ElementsAre(HasSubstr("9000000")));
}

// --- Configurations as published checkpoints have them ----------------------------------------

void expect_silent(const std::string& config, uint64_t experts, uint32_t head_dim) {
  const auto spec = parse_model_spec(config, "M/config.json");
  ASSERT_TRUE(spec) << to_line(spec.error());
  EXPECT_EQ(spec->moe.experts, experts);
  EXPECT_EQ(spec->attention.head_dim, head_dim);
  EXPECT_THAT(spec->warnings, IsEmpty());
}

TEST(ModelSpecPublished, KeysOfOlderReleasesAreKnown) {
  expect_silent(R"({"architectures": ["OlmoeForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "clip_qkv": null, "eos_token_id": 50279, "hidden_act": "silu",
      "hidden_size": 2048, "initializer_range": 0.02, "intermediate_size": 1024,
      "max_position_embeddings": 4096, "model_type": "olmoe", "norm_topk_prob": false,
      "num_attention_heads": 16, "num_experts": 64, "num_experts_per_tok": 8,
      "num_hidden_layers": 16, "num_key_value_heads": 16, "output_router_logits": false,
      "pad_token_id": 1, "rms_norm_eps": 1e-05, "rope_scaling": null, "rope_theta": 10000.0,
      "router_aux_loss_coef": 0.01, "tie_word_embeddings": false, "torch_dtype": "bfloat16",
      "transformers_version": "4.43.0.dev0", "use_cache": true, "vocab_size": 50304})",
                64, 128);
  expect_silent(R"({"architectures": ["Qwen2MoeForCausalLM"], "attention_dropout": 0.0,
      "bos_token_id": 151643, "eos_token_id": 151643, "hidden_act": "silu", "hidden_size": 2048,
      "initializer_range": 0.02, "intermediate_size": 5632, "max_position_embeddings": 8192,
      "max_window_layers": 21, "model_type": "qwen2_moe", "num_attention_heads": 16,
      "num_hidden_layers": 24, "num_key_value_heads": 16, "rms_norm_eps": 1e-06,
      "rope_theta": 1000000.0, "sliding_window": 32768, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_cache": true, "use_sliding_window": false,
      "vocab_size": 151936, "decoder_sparse_step": 1, "moe_intermediate_size": 1408,
      "shared_expert_intermediate_size": 5632, "num_experts_per_tok": 4, "num_experts": 60,
      "norm_topk_prob": false, "output_router_logits": false, "router_aux_loss_coef": 0.001})",
                60, 128);
  expect_silent(R"({"architectures": ["Qwen3MoeForCausalLM"], "attention_bias": false,
      "attention_dropout": 0.0, "decoder_sparse_step": 1, "eos_token_id": 151645,
      "head_dim": 128, "hidden_act": "silu", "hidden_size": 2048, "initializer_range": 0.02,
      "intermediate_size": 6144, "max_position_embeddings": 262144, "max_window_layers": 48,
      "mlp_only_layers": [], "model_type": "qwen3_moe", "moe_intermediate_size": 768,
      "norm_topk_prob": true, "num_attention_heads": 32, "num_experts": 128,
      "num_experts_per_tok": 8, "num_hidden_layers": 48, "num_key_value_heads": 4,
      "output_router_logits": false, "qkv_bias": false, "rms_norm_eps": 1e-06,
      "rope_scaling": null, "rope_theta": 10000000, "router_aux_loss_coef": 0.001,
      "shared_expert_intermediate_size": 0, "sliding_window": null,
      "tie_word_embeddings": false, "torch_dtype": "bfloat16", "use_cache": true,
      "use_sliding_window": false, "vocab_size": 151936})",
                128, 128);
  expect_silent(R"({"architectures": ["MixtralForCausalLM"], "attention_dropout": 0.0,
      "bos_token_id": 1, "eos_token_id": 2, "hidden_act": "silu", "hidden_size": 4096,
      "initializer_range": 0.02, "intermediate_size": 14336, "max_position_embeddings": 32768,
      "model_type": "mixtral", "num_attention_heads": 32, "num_experts_per_tok": 2,
      "num_hidden_layers": 32, "num_key_value_heads": 8, "num_local_experts": 8,
      "output_router_logits": false, "rms_norm_eps": 1e-05, "rope_theta": 1000000.0,
      "router_aux_loss_coef": 0.02, "sliding_window": null, "tie_word_embeddings": false,
      "torch_dtype": "bfloat16", "use_cache": true, "vocab_size": 32000})",
                8, 128);
}

}  // namespace
}  // namespace switchyard
