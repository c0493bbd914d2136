#pragma once

// Whether heads of attention and the vocabulary are better spread over the ranks (layout B) than
// sequences are (A and C). Pure.

#include <cstdint>

#include "scheduler/exchange_cost.h"

namespace switchyard {

struct SplitQuestion {
  uint32_t ranks = 2;
  uint32_t layers = 0;
  uint32_t sequences = 0;              // that are open together
  uint32_t chunk = 0;                  // tokens of one prompt computed together
  double weight_bytes = 0;             // of attention and vocabulary: what is spread
  double weight_bytes_per_second = 0;  // at which one rank reads them
  double row_bytes = 0;                // of a token's hidden state
};

// Seconds that spreading saves a step; less than 0: that it costs. Of a token of each sequence, and
// of a chunk of one prompt. Weights are read once for a few rows; more rows take longer. Spread, a
// rank reads its part of them for all rows, and each layer has two more rounds: partial sums to a
// row's owner, and the owner's row to all.
double decode_gain_seconds(const RoundRates& links, const SplitQuestion& question);
double prompt_gain_seconds(const RoundRates& links, const SplitQuestion& question);

// Both are gains.
bool split_is_quicker(const RoundRates& links, const SplitQuestion& question);

}  // namespace switchyard
