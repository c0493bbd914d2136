#pragma once

#include <string_view>
#include <vector>

#include "runtime/engine/tokenizer/regex.h"

namespace switchyard {

// What becomes of the matches of a splitting pattern.
enum class SplitBehavior {
  kIsolated,            // each is a piece
  kRemoved,             // they go
  kContiguous,          // neighbouring ones are one piece
  kMergedWithPrevious,  // each ends the piece before it
  kMergedWithNext,      // each begins the piece after it
};

// Appends the non-empty pieces of a text of `text_bytes` bytes, whose `matches` are in order and do
// not overlap. `invert` swaps matches and what lies between them.
void split_text(size_t text_bytes, const std::vector<Match>& matches, bool invert,
                SplitBehavior behavior, std::vector<Match>& pieces);

}  // namespace switchyard
