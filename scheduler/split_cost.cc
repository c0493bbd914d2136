#include "scheduler/split_cost.h"

#include <algorithm>

namespace switchyard {
namespace {

// So many rows take as long to compute as their weights to read.
constexpr double kRowsOfARead = 16;

uint32_t rows_each(uint32_t rows, uint32_t ranks) { return (rows + ranks - 1) / ranks; }

// Of `rows`, of which one rank has `most` while they are not spread.
double gain_seconds(const RoundRates& links, const SplitQuestion& question, uint32_t rows,
                    uint32_t most) {
  const double ranks = question.ranks;
  const double read = question.weight_bytes / question.weight_bytes_per_second;
  const auto seconds = [&](double share, uint32_t of_rows) {
    return share * read * std::max(1.0, of_rows / kRowsOfARead);
  };
  // The rank that owns most rows gets the others' parts of each, and gives each to the others.
  const double bytes = rows_each(rows, question.ranks) * (ranks - 1) * question.row_bytes;
  const double round = links.round_seconds + bytes * links.seconds_per_byte;
  return seconds(1, most) - seconds(1 / ranks, rows) - 2 * question.layers * round;
}

}  // namespace

double decode_gain_seconds(const RoundRates& links, const SplitQuestion& question) {
  return gain_seconds(links, question, question.sequences,
                      rows_each(question.sequences, question.ranks));
}

double prompt_gain_seconds(const RoundRates& links, const SplitQuestion& question) {
  return gain_seconds(links, question, question.chunk, question.chunk);
}

bool split_is_quicker(const RoundRates& links, const SplitQuestion& question) {
  return decode_gain_seconds(links, question) > 0 && prompt_gain_seconds(links, question) > 0;
}

}  // namespace switchyard
