#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

// What generation_config.json asks for; the command line rules over it.
struct GenerationDefaults {
  std::optional<float> temperature;         // 0…100; 0: the likeliest token
  std::optional<float> top_p;               // 0…1
  std::optional<float> min_p;               // 0…1
  std::optional<float> repetition_penalty;  // above 0
  std::optional<uint32_t> top_k;            // 0: no limit
  std::optional<bool> do_sample;
  std::vector<TokenId> end_ids;      // eos_token_id, one or a list, without duplicates
  std::vector<std::string> ignored;  // keys that would change what is sampled but are not followed
  bool present = false;              // whether the checkpoint has the file
};

// From generation_config.json's text; `where` is the file's path. Keys that do not concern sampling
// are ignored. kBadData: wrong types and values out of range.
Result<GenerationDefaults> parse_generation_config(std::string_view json, const std::string& where);

}  // namespace switchyard
