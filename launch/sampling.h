#pragma once

// How the next token is chosen: what the command line says, else generation_config.json, else
// greedily.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "runtime/engine/generation_config.h"
#include "runtime/engine/sampler.h"

namespace switchyard {

class OptionList;

struct SamplingFlags {
  std::optional<float> temperature;
  std::optional<uint32_t> top_k;
  std::optional<float> top_p;
  std::optional<float> min_p;
  std::optional<float> repeat_penalty;
  std::optional<uint64_t> seed;

  void add_to(OptionList& options);
};

struct SamplingChoice {
  SamplerOptions options;
  std::vector<TokenId> end_ids;  // distinct
  std::string line;              // all of it and where each value comes from, for the user
};

// `config_end_ids` are those of config.json.
SamplingChoice choose_sampling(const SamplingFlags& flags, const GenerationDefaults& defaults,
                               const std::vector<TokenId>& config_end_ids);

}  // namespace switchyard
