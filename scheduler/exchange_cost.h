#pragma once

// How long the two ways of bringing rows to experts on other ranks take, from the rates of links.
// Pure.

#include <cstdint>
#include <span>

namespace switchyard {

// A round of messages between all ranks takes round_seconds and, for the rank that sends or
// receives most, seconds_per_byte of that.
struct RoundRates {
  double round_seconds = 0;
  double seconds_per_byte = 0;
};

struct ExchangeQuestion {
  std::span<const uint32_t> rows_of_rank;  // [ranks] that each brings
  double row_bytes = 0;                    // out, with what says where it goes
  double part_bytes = 0;                   // back
  double count_bytes = 0;                  // that say how many rows come from a rank
  double copies = 0;                       // other ranks that a row's experts lie on, in the mean
};

// Each row to the ranks that need it, counts before them: two rounds, rows and partials.
double sparse_seconds(const RoundRates& links, const ExchangeQuestion& question);
// Every row to every rank, and a row back from each: no counts.
double gather_seconds(const RoundRates& links, const ExchangeQuestion& question);

// Other ranks that have one of a token's `top_k` experts, if these lie anywhere.
double expected_copies(uint32_t ranks, uint32_t top_k);

}  // namespace switchyard
