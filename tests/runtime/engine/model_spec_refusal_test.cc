#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/engine/model_spec.h"
#include "tests/runtime/engine/fixture_config.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

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
        Refusal{"mixtral", R"({"model_type": "mamba"})", kConfig, "qwen3_moe"},
        Refusal{"mixtral", R"({"architectures": ["MixtralForSequenceClassification"]})", kConfig,
                "MixtralForSequenceClassification"},
        Refusal{"mixtral", R"({"architectures": ["OlmoeForCausalLM"]})", kConfig, "architectures"},
        Refusal{"mixtral", R"({"hidden_act": "gelu"})", kConfig, "hidden_act is \"gelu\""},
        Refusal{"mixtral", R"({"quantization_config": {"bits": 4}})", kConfig,
                "quantization_config"},
        Refusal{"mixtral", R"({"quantization": {"bits": 4}})", kConfig, "quantization"},
        Refusal{"mixtral", R"({"compression_config": {"bits": 4}})", kConfig, "compression_config"},
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
