#pragma once

// The two things that `bench` times.

#include <cstdint>
#include <vector>

#include "runtime/base/ids.h"
#include "runtime/base/result.h"
#include "runtime/engine/engine.h"

namespace switchyard {

inline constexpr uint32_t kPromptDefault = 512;  // tokens, where a command is told none

// What one phase took, and what the engine did in it.
struct Phase {
  double seconds = 0;
  EngineCounters counters;
  std::vector<RankReport> ranks = {};  // of several

  double per_second(double amount) const { return seconds > 0 ? amount / seconds : 0; }
};

// The same ids for the same seed and stream, on every machine.
std::vector<TokenId> random_ids(uint64_t seed, uint64_t stream, uint32_t count, uint32_t vocab);

// Computes `ids` as one prompt, with logits for the last. Needs a sequence free. Engine errors.
Result<Phase> time_prefill(Engine& engine, const std::vector<TokenId>& ids);

// A step for each of `tokens`, in which every sequence continues itself greedily. Its beginning,
// one of `prompts`, is computed before and not timed. Needs as many sequences free.
Result<Phase> time_decode(Engine& engine, const std::vector<std::vector<TokenId>>& prompts,
                          uint32_t tokens);

}  // namespace switchyard
