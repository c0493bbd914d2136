#pragma once

// What one step computes: which tokens of which sequences. Pure values.

#include <cstdint>
#include <vector>

#include "runtime/base/ids.h"

namespace switchyard {

enum class SequenceId : uint32_t {};

// Which of a part's rows get logits; kBest: of the last row only the id of the greatest is wanted.
enum class LogitsWanted : uint8_t { kNone, kLast, kAll, kBest };

// The next tokens of one sequence; they follow what the sequence already holds.
struct StepPart {
  SequenceId sequence{};
  std::vector<TokenId> tokens;  // at least one
  LogitsWanted logits = LogitsWanted::kLast;
  bool prompt = false;  // given, not generated: matters to routing traces only
};

struct StepPlan {
  std::vector<StepPart> parts;  // each sequence at most once

  uint32_t tokens() const {
    size_t count = 0;
    for (const StepPart& part : parts) count += part.tokens.size();
    return static_cast<uint32_t>(count);
  }
};

}  // namespace switchyard
