#include "scheduler/exchange_cost.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace switchyard {
namespace {

// When each row goes to `copies` other ranks, all alike, and comes back from them.
double seconds(const RoundRates& links, const ExchangeQuestion& question, double rounds,
               double copies) {
  const auto ranks = static_cast<double>(question.rows_of_rank.size());
  const double all =
      std::accumulate(question.rows_of_rank.begin(), question.rows_of_rank.end(), 0.0);
  double most = 0;  // rows that a rank sends or receives
  for (const uint32_t own : question.rows_of_rank) {
    const double out = own * copies, in = (all - own) * copies / (ranks - 1);
    most = std::max({most, out, in});
  }
  const double bytes = most * (question.row_bytes + question.part_bytes);
  return rounds * links.round_seconds + bytes * links.seconds_per_byte;
}

}  // namespace

double sparse_seconds(const RoundRates& links, const ExchangeQuestion& question) {
  const auto ranks = static_cast<double>(question.rows_of_rank.size());
  return seconds(links, question, 2, question.copies) +
         (ranks - 1) * question.count_bytes * links.seconds_per_byte;
}

double gather_seconds(const RoundRates& links, const ExchangeQuestion& question) {
  return seconds(links, question, 2, static_cast<double>(question.rows_of_rank.size()) - 1);
}

double expected_copies(uint32_t ranks, uint32_t top_k) {
  return (ranks - 1) * (1 - std::pow(1 - 1.0 / ranks, top_k));
}

}  // namespace switchyard
