#pragma once

// Prompt in, tokens out: one sequence.

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "launch/sampling.h"
#include "runtime/base/result.h"
#include "runtime/engine/engine.h"

namespace switchyard {

enum class Finish : uint8_t { kLength, kEndId, kStopText, kContextFull, kSignal };
std::string_view finish_name(Finish finish);

struct GenerationRequest {
  std::vector<TokenId> prompt;  // at least one, all in the vocabulary
  uint64_t tokens_max = 0;      // 0: computes the prompt only
  uint32_t context = 0;         // of the engine; not below the prompt
  SamplerOptions sampling;
  std::vector<TokenId> end_ids;  // the first of these that comes is the last token
};

struct GenerationResult {
  std::vector<TokenId> ids;  // generated, the end id too
  uint64_t logits_hash = 0;  // over the rows sampled from, in order
  Finish finish = Finish::kLength;
  uint64_t prompt_done = 0;    // tokens of the prompt computed
  double prefill_seconds = 0;  // up to the first token
  double decode_seconds = 0;   // from there
  EngineCounters prefill;      // what the engine did up to the first token
  EngineCounters all;
};

struct GenerationHooks {
  // Gets each token but an end id as it is made; true: the stop text is complete.
  std::function<Result<bool>(TokenId)> on_token;
  std::function<bool()> interrupted;
  std::function<void(uint64_t done, uint64_t all)> prompt_progress;
};

// Counters begin anew with the prompt. Errors are the engine's and the hooks'.
Result<GenerationResult> generate(Engine& engine, const GenerationRequest& request,
                                  const GenerationHooks& hooks);

}  // namespace switchyard
