#include "runtime/engine/generation_config.h"

#include <limits>
#include <nlohmann/json.hpp>

#include "runtime/engine/config_reader.h"

namespace switchyard {
namespace {

Result<std::optional<float>> read_float(ConfigReader& config, std::string_view key,
                                        NumberRange range) {
  const auto value = TRY(config.number(key, range));
  if (!value) return std::nullopt;
  return static_cast<float>(*value);
}

// What the reference implementation samples by beside the keys that are read, and the value that
// leaves the tokens as they are; null always does.
struct OtherKey {
  const char* name;
  double neutral;
};
constexpr OtherKey kOtherNumbers[] = {
    {"typical_p", 1},
    {"no_repeat_ngram_size", 0},
    {"encoder_no_repeat_ngram_size", 0},
    {"epsilon_cutoff", 0},
    {"eta_cutoff", 0},
    {"encoder_repetition_penalty", 1},
    {"penalty_alpha", 0},
    {"min_length", 0},
    {"min_new_tokens", 0},
    {"num_beams", 1},
    {"num_beam_groups", 1},
    {"diversity_penalty", 0},
    {"dola_layers", 0},
    {"top_h", 0},
    {"guidance_scale", 1},
    {"forced_bos_token_id", -1},
    {"forced_eos_token_id", -1},
};
constexpr const char* kOtherLists[] = {"suppress_tokens",    "begin_suppress_tokens",
                                       "bad_words_ids",      "force_words_ids",
                                       "sequence_bias",      "constraints",
                                       "stop_strings",       "exponential_decay_length_penalty",
                                       "watermarking_config"};

std::vector<std::string> ignored_keys(const Json& object) {
  std::vector<std::string> names;
  for (const OtherKey& key : kOtherNumbers) {
    const auto found = object.find(key.name);
    if (found == object.end() || found->is_null()) continue;
    if (!found->is_number() || found->get<double>() != key.neutral) names.emplace_back(key.name);
  }
  for (const char* name : kOtherLists) {
    const auto found = object.find(name);
    if (found != object.end() && !found->empty()) names.emplace_back(name);
  }
  return names;
}

}  // namespace

Result<GenerationDefaults> parse_generation_config(std::string_view json,
                                                   const std::string& where) {
  constexpr CountRange kTokenIds{0, std::numeric_limits<TokenId>::max()};
  const Json object = TRY(parse_json(json, where));
  if (!object.is_object()) return fail(Code::kBadData, "expected a JSON object", where);
  ConfigReader config(object, where);
  GenerationDefaults defaults;
  defaults.present = true;
  defaults.ignored = ignored_keys(object);
  defaults.temperature = TRY(read_float(config, "temperature", {0, 100, true}));
  defaults.top_p = TRY(read_float(config, "top_p", {0, 1, true}));
  defaults.min_p = TRY(read_float(config, "min_p", {0, 1, true}));
  defaults.repetition_penalty = TRY(read_float(config, "repetition_penalty", {1e-3, 100, true}));
  defaults.top_k = TRY(config.count("top_k", kTokenIds));
  defaults.do_sample = TRY(config.flag("do_sample"));
  for (const uint32_t id : TRY(config.count_or_counts("eos_token_id", 256, kTokenIds)))
    defaults.end_ids.push_back(static_cast<TokenId>(id));
  return defaults;
}

}  // namespace switchyard
