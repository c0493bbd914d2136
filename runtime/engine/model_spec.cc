#include "runtime/engine/model_spec.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/engine/config_reader.h"
#include "runtime/engine/families/registry.h"

namespace switchyard {
namespace {

// Keys that cannot change what a forward pass computes.
constexpr std::string_view kNoEffect[] = {
    // Where the file comes from and how it was run.
    "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
    "_commit_hash", "_experts_implementation", "_experts_implementation_internal", "_name_or_path",
    "attn_implementation", "experts_implementation", "name_or_path", "pretraining_tp",
    "tf_legacy_loss", "tokenizer_class", "torchscript", "transformers_version", "use_bfloat16",
    "use_cache",
    // Training.
    "attention_dropout", "initializer_range", "output_router_logits", "problem_type",
    "router_aux_loss_coef", "router_jitter_noise", "id2label", "label2id", "num_labels",
    "finetuning_task", "task_specific_params",
    // What a call returns.
    "chunk_size_feed_forward", "output_attentions", "output_hidden_states", "output_scores",
    "return_dict", "return_dict_in_generate", "tie_last_hidden_states",
    // Token ids a prompt or a tokenizer may use.
    "bos_token_id", "decoder_start_token_id", "pad_token_id", "prefix", "sep_token_id",
    // Generation, which generation_config.json rules.
    "bad_words_ids", "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
    "encoder_no_repeat_ngram_size", "exponential_decay_length_penalty", "forced_bos_token_id",
    "forced_eos_token_id", "length_penalty", "max_length", "min_length", "no_repeat_ngram_size",
    "num_beam_groups", "num_beams", "num_return_sequences", "remove_invalid_values",
    "repetition_penalty", "suppress_tokens", "temperature", "top_k", "top_p", "typical_p",
    // Encoder-decoder leftovers that a decoder does not read.
    "cross_attention_hidden_size", "is_decoder", "tie_encoder_decoder",
    // The window's layers, where a family has no window or has already read it.
    "max_window_layers"};

// Keys that change the mathematics where a model has them, with the value that changes nothing.
// A family that did not ask for one cannot compute it.
struct NeutralValue {
  std::string_view key;
  const char* json;
};
constexpr NeutralValue kNeutral[] = {
    {"add_cross_attention", "false"},
    {"attention_bias", "false"},
    {"clip_qkv", "null"},
    {"compression_config", "{}"},
    {"decoder_sparse_step", "1"},
    {"is_encoder_decoder", "false"},
    {"layer_types", "[]"},
    {"mlp_bias", "false"},
    {"mlp_only_layers", "[]"},
    {"norm_topk_prob", "true"},
    {"per_layer_config", "{}"},
    {"pruned_heads", "{}"},
    {"qkv_bias", "false"},
    {"quantization", "{}"},
    {"quantization_config", "{}"},
    {"shared_expert_intermediate_size", "0"},
    {"sliding_window", "0"},
    {"use_sliding_window", "false"},
};

Status refuse_unread_mathematics(ConfigReader& config) {
  for (const auto& [key, neutral] : kNeutral) {
    if (config.was_asked(key)) continue;
    const Json* value = config.find(key);
    if (value && *value != Json::parse(neutral))
      return config.refuse(key, "which this family does not compute here");
  }
  return {};
}

Status check_dtype(ConfigReader& config) {
  const auto dtype = TRY(config.text("dtype"));
  const auto older = TRY(config.text("torch_dtype"));
  if (dtype && older && *dtype != *older)
    return config.bad("torch_dtype", "but dtype says otherwise");
  return {};
}

// A head other than the language model's would be silently dropped.
Status check_architectures(ConfigReader& config, const Family& family) {
  for (const std::string& architecture : TRY(config.texts("architectures", 16)))
    if (architecture != family.architecture)
      return config.refuse("architectures",
                           fmt::format("only {} is computed here", family.architecture));
  return {};
}

Result<const Family*> find_family(ConfigReader& config) {
  const auto model_type = TRY(config.text("model_type"));
  if (!model_type) return config.missing("model_type");
  std::string known;
  for (const Family& family : all_families()) {
    if (family.model_type == *model_type) return &family;
    known += (known.empty() ? "" : ", ") + std::string(family.model_type);
  }
  return fail(Code::kConfig,
              "model family \"" + abbreviated(*model_type) + "\" is not computed here",
              config.where(), "known: " + known);
}

}  // namespace

std::vector<uint16_t> ModelSpec::router_layers() const {
  std::vector<uint16_t> sparse;
  for (size_t layer = 0; layer < layers.size(); ++layer) {
    if (layers[layer].sparse) sparse.push_back(static_cast<uint16_t>(layer));
  }
  return sparse;
}

uint32_t ModelSpec::sparse_layers() const {
  return static_cast<uint32_t>(std::count_if(layers.begin(), layers.end(),
                                             [](const LayerSpec& layer) { return layer.sparse; }));
}

std::vector<ExpertKey> ModelSpec::expert_keys(
    const std::vector<std::vector<uint16_t>>& order) const {
  std::vector<ExpertKey> keys;
  const std::vector<uint16_t> with_router = router_layers();
  for (size_t at = 0; at < with_router.size(); ++at) {
    for (const uint16_t expert : order.at(at)) keys.push_back({with_router[at], expert});
  }
  return keys;
}

Result<ModelSpec> parse_model_spec(std::string_view config_json, const std::string& where) {
  const Json object = TRY(parse_json(config_json, where));
  if (!object.is_object()) return fail(Code::kBadData, "expected a JSON object", where);
  ConfigReader config(object, where);
  const Family& family = *TRY(find_family(config));
  TRY_STATUS(check_architectures(config, family));
  TRY_STATUS(check_dtype(config));
  ModelSpec spec = TRY(family.describe(config));
  TRY_STATUS(refuse_unread_mathematics(config));
  spec.family = family.model_type;
  for (const std::string_view key : kNoEffect) config.mark_known(key);
  for (std::string& line : config.unknown_key_warnings()) spec.warnings.push_back(std::move(line));
  return spec;
}

}  // namespace switchyard
