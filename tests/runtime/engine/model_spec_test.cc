#include "runtime/engine/model_spec.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/runtime/engine/fixture_config.h"

namespace switchyard {
namespace {

using testing::Each;
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

// --- Refusals --------------------------------------------------------------------------------

struct Refusal {
  const char* fixture;
  const char* changes;
  Code code;
  const char* says;  // a part of the message
};

void PrintTo(const Refusal& refusal, std::ostream* out) {
  *out << refusal.fixture << " " << refusal.changes;
}

class ModelSpecRefuses : public testing::TestWithParam<Refusal> {};

TEST_P(ModelSpecRefuses, ByName) {
  const Refusal& refusal = GetParam();
  const auto spec = parse_changed(refusal.fixture, refusal.changes);
  ASSERT_FALSE(spec);
  EXPECT_EQ(spec.error().code, refusal.code) << to_line(spec.error());
  EXPECT_THAT(to_line(spec.error()), HasSubstr(refusal.says));
  EXPECT_THAT(to_line(spec.error()), HasSubstr("M/config.json"));
}

constexpr Code kBad = Code::kBadData;
constexpr Code kConfig = Code::kConfig;

INSTANTIATE_TEST_SUITE_P(
    Mathematics, ModelSpecRefuses,
    testing::Values(
        Refusal{"mixtral", R"({"model_type": "gpt_oss"})", kConfig, "\"gpt_oss\""},
        Refusal{"mixtral", R"({"model_type": "gpt_oss"})", kConfig, "qwen3_moe"},
        Refusal{"mixtral", R"({"architectures": ["MixtralForSequenceClassification"]})", kConfig,
                "MixtralForSequenceClassification"},
        Refusal{"mixtral", R"({"architectures": ["OlmoeForCausalLM"]})", kConfig, "architectures"},
        Refusal{"mixtral", R"({"hidden_act": "gelu"})", kConfig, "hidden_act is \"gelu\""},
        Refusal{"mixtral", R"({"quantization_config": {"bits": 4}})", kConfig,
                "quantization_config"},
        Refusal{"mixtral", R"({"partial_rotary_factor": 0.5})", kConfig, "partial_rotary_factor"},
        Refusal{"mixtral", R"({"rope_parameters": {"partial_rotary_factor": 0.5}})", kConfig,
                "rope_parameters.partial_rotary_factor"},
        Refusal{"mixtral", R"({"attention_bias": true})", kConfig, "attention_bias"},
        Refusal{"mixtral", R"({"qkv_bias": true})", kConfig, "qkv_bias"},
        Refusal{"mixtral", R"({"mlp_bias": true})", kConfig, "mlp_bias"},
        Refusal{"mixtral", R"({"clip_qkv": 1.0})", kConfig, "clip_qkv"},
        Refusal{"mixtral", R"({"norm_topk_prob": false})", kConfig, "norm_topk_prob"},
        Refusal{"mixtral", R"({"mlp_only_layers": [0]})", kConfig, "mlp_only_layers"},
        Refusal{"mixtral", R"({"decoder_sparse_step": 2})", kConfig, "decoder_sparse_step"},
        Refusal{"mixtral", R"({"shared_expert_intermediate_size": 8})", kConfig,
                "shared_expert_intermediate_size"},
        Refusal{"mixtral", R"({"use_sliding_window": true})", kConfig, "use_sliding_window"},
        Refusal{"mixtral", R"({"per_layer_config": {"0": {}}})", kConfig, "per_layer_config"},
        Refusal{"mixtral", R"({"pruned_heads": {"0": [1]}})", kConfig, "pruned_heads"},
        Refusal{"mixtral", R"({"is_encoder_decoder": true})", kConfig, "is_encoder_decoder"},
        Refusal{"mixtral", R"({"add_cross_attention": true})", kConfig, "add_cross_attention"},
        Refusal{"mixtral", R"({"num_local_experts": 0})", kConfig, "num_local_experts is 0"},
        Refusal{"qwen2_moe", R"({"num_experts": 0})", kConfig, "num_experts is 0"},
        Refusal{"qwen3_moe", R"({"mlp_only_layers": [0, 1, 2]})", kConfig, "mlp_only_layers"},
        Refusal{"qwen3_moe", R"({"decoder_sparse_step": 4})", kConfig, "decoder_sparse_step"},
        Refusal{"qwen3_moe", R"({"qkv_bias": true})", kConfig, "qkv_bias"},
        Refusal{"qwen3_moe",
                R"({"use_sliding_window": true, "sliding_window": 8, "max_window_layers": 2})",
                kConfig, "max_window_layers"},
        Refusal{"qwen2_moe", R"({"attention_bias": true})", kConfig, "attention_bias"},
        Refusal{"olmoe", R"({"sliding_window": 16})", kConfig, "sliding_window"},
        Refusal{"mixtral",
                R"({"layer_types": ["sliding_attention", "full_attention", "full_attention"]})",
                kConfig, "layer_types"},
        Refusal{"olmoe",
                R"({"layer_types": ["sliding_attention", "full_attention", "full_attention"]})",
                kConfig, "layer_types"},
        Refusal{"qwen2_moe", R"({"layer_types": ["linear_attention", "full_attention",
                "full_attention"]})",
                kConfig, "layer_types"}));

INSTANTIATE_TEST_SUITE_P(
    Contradictions, ModelSpecRefuses,
    testing::Values(
        Refusal{"mixtral", R"({"num_experts": 4})", kBad, "num_experts is 4"},
        Refusal{"mixtral", R"({"torch_dtype": "float16"})", kBad, "torch_dtype"},
        Refusal{"mixtral", R"({"num_experts_per_tok": 9})", kBad, "num_experts_per_tok 9"},
        Refusal{"mixtral", R"({"num_key_value_heads": 3})", kBad, "num_key_value_heads 3"},
        Refusal{"mixtral", R"({"num_key_value_heads": 8})", kBad, "num_key_value_heads 8"},
        Refusal{"mixtral", R"({"layer_types": ["full_attention"]})", kBad, "layer_types"},
        Refusal{"olmoe", R"({"head_dim": 32})", kBad, "head_dim 32"},
        Refusal{"qwen2_moe", R"({"intermediate_size": null})", kBad, "intermediate_size"},
        Refusal{"qwen2_moe", R"({"use_sliding_window": true})", kBad, "sliding_window is 0"},
        Refusal{"qwen2_moe", R"({"layer_types": ["sliding_attention", "full_attention",
                "full_attention"]})",
                kBad, "sliding_window"},
        Refusal{"qwen3_moe", R"({"use_sliding_window": true, "sliding_window": 0})", kBad,
                "sliding_window is 0"}));

INSTANTIATE_TEST_SUITE_P(
    AbsurdValues, ModelSpecRefuses,
    testing::Values(
        Refusal{"mixtral", R"({"hidden_size": 0})", kBad, "hidden_size is 0"},
        Refusal{"mixtral", R"({"hidden_size": -64})", kBad, "hidden_size is -64"},
        Refusal{"mixtral", R"({"hidden_size": 64.5})", kBad, "hidden_size is 64.5"},
        Refusal{"mixtral", R"({"hidden_size": "64"})", kBad, "hidden_size is \"64\""},
        Refusal{"mixtral", R"({"hidden_size": true})", kBad, "hidden_size is true"},
        Refusal{"mixtral", R"({"hidden_size": [64]})", kBad, "hidden_size is [64]"},
        Refusal{"mixtral", R"({"hidden_size": 131073})", kBad, "hidden_size is 131073"},
        Refusal{"mixtral", R"({"hidden_size": 18446744073709551615})", kBad,
                "hidden_size is 18446744073709551615"},
        Refusal{"mixtral", R"({"vocab_size": 4194305})", kBad, "vocab_size is 4194305"},
        Refusal{"mixtral", R"({"num_hidden_layers": 1025})", kBad, "num_hidden_layers is 1025"},
        Refusal{"mixtral", R"({"num_hidden_layers": 0})", kBad, "num_hidden_layers is 0"},
        Refusal{"mixtral", R"({"num_attention_heads": 0})", kBad, "num_attention_heads is 0"},
        Refusal{"mixtral", R"({"num_attention_heads": 1025})", kBad, "num_attention_heads"},
        Refusal{"mixtral", R"({"num_key_value_heads": 0})", kBad, "num_key_value_heads is 0"},
        Refusal{"mixtral", R"({"num_local_experts": 4097})", kBad, "num_local_experts is 4097"},
        Refusal{"mixtral", R"({"num_experts_per_tok": 0})", kBad, "num_experts_per_tok is 0"},
        Refusal{"mixtral", R"({"intermediate_size": 1048577})", kBad, "intermediate_size"},
        Refusal{"mixtral", R"({"head_dim": 15})", kBad, "head_dim 15"},
        Refusal{"mixtral", R"({"head_dim": 0})", kBad, "head_dim is 0"},
        Refusal{"mixtral", R"({"head_dim": 2050})", kBad, "head_dim is 2050"},
        Refusal{"mixtral", R"({"hidden_size": 3})", kBad, "head_dim 0"},
        Refusal{"mixtral", R"({"hidden_size": 131072, "num_attention_heads": 2})", kBad,
                "head_dim 65536"},
        Refusal{"mixtral", R"({"max_position_embeddings": 0})", kBad, "max_position_embeddings"},
        Refusal{"mixtral", R"({"rms_norm_eps": 0})", kBad, "rms_norm_eps is 0"},
        Refusal{"mixtral", R"({"rms_norm_eps": -1e-5})", kBad, "rms_norm_eps"},
        Refusal{"mixtral", R"({"tie_word_embeddings": 1})", kBad, "tie_word_embeddings is 1"},
        Refusal{"mixtral", R"({"sliding_window": 0})", kBad, "sliding_window is 0"},
        Refusal{"mixtral", R"({"sliding_window": -4})", kBad, "sliding_window is -4"},
        Refusal{"mixtral", R"({"eos_token_id": -1})", kBad, "eos_token_id is -1"},
        Refusal{"mixtral", R"({"eos_token_id": "</s>"})", kBad, "eos_token_id"},
        Refusal{"mixtral", R"({"eos_token_id": [2, [3]]})", kBad, "eos_token_id"},
        Refusal{"mixtral", R"({"hidden_act": 7})", kBad, "hidden_act is 7"},
        Refusal{"mixtral", R"({"architectures": "MixtralForCausalLM"})", kBad, "architectures"},
        Refusal{"mixtral", R"({"model_type": 7})", kBad, "model_type is 7"},
        Refusal{"olmoe", R"({"clip_qkv": 0})", kBad, "clip_qkv is 0"},
        Refusal{"olmoe", R"({"clip_qkv": -8.0})", kBad, "clip_qkv is -8"},
        Refusal{"qwen2_moe", R"({"moe_intermediate_size": 0})", kBad, "moe_intermediate_size"},
        Refusal{"qwen2_moe", R"({"shared_expert_intermediate_size": 0})", kBad,
                "shared_expert_intermediate_size is 0"},
        Refusal{"qwen3_moe", R"({"decoder_sparse_step": 0})", kBad, "decoder_sparse_step is 0"},
        Refusal{"qwen3_moe", R"({"mlp_only_layers": [-1]})", kBad, "mlp_only_layers is [-1]"},
        Refusal{"qwen3_moe", R"({"mlp_only_layers": 1})", kBad, "mlp_only_layers is 1"}));

TEST(ModelSpecRefusals, RequiredKeysAreNamed) {
  for (const char* key :
       {"model_type", "hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size",
        "num_experts", "moe_intermediate_size", "shared_expert_intermediate_size"}) {
    const auto spec = parse_changed("qwen2_moe", "{}", {key});
    ASSERT_FALSE(spec) << key;
    EXPECT_EQ(spec.error().code, Code::kBadData);
    EXPECT_EQ(spec.error().what, std::string(key) + " is missing");
  }
  EXPECT_EQ(parse_changed("mixtral", "{}", {"intermediate_size"}).error().what,
            "intermediate_size is missing");
}

TEST(ModelSpecRefusals, WhatIsNotAnObject) {
  for (const char* text : {"", "[]", "7", "null", "{", "{\"a\":1e999}", "\"\\ud800\""}) {
    const auto spec = parse_model_spec(text, "M/config.json");
    ASSERT_FALSE(spec) << text;
    EXPECT_EQ(spec.error().code, Code::kBadData) << text;
  }
}

TEST(ModelSpecRefusals, LongValuesAreCutInMessages) {
  const std::string kind(100000, 'x');
  const auto spec = parse_changed("mixtral", nlohmann::json{{"hidden_act", kind}}.dump());
  ASSERT_FALSE(spec);
  EXPECT_LT(to_line(spec.error()).size(), 300u);
}

}  // namespace
}  // namespace switchyard
