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

}  // namespace

Result<GenerationDefaults> parse_generation_config(std::string_view json,
                                                   const std::string& where) {
  constexpr CountRange kTokenIds{0, std::numeric_limits<TokenId>::max()};
  const Json object = TRY(parse_json(json, where));
  if (!object.is_object()) return fail(Code::kBadData, "expected a JSON object", where);
  ConfigReader config(object, where);
  GenerationDefaults defaults;
  defaults.present = true;
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
