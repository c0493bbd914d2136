#include "scheduler/exchange_cost.h"

#include <gtest/gtest.h>

#include <vector>

namespace switchyard {
namespace {

ExchangeQuestion question_of(const std::vector<uint32_t>& rows, double copies) {
  return {.rows_of_rank = rows,
          .row_bytes = 4096,
          .part_bytes = 4096,
          .count_bytes = 24,
          .copies = copies};
}

TEST(ExchangeCost, RowsThatAllRanksNeedAreGathered) {
  const std::vector<uint32_t> rows = {1, 0, 0, 0};
  const RoundRates far{.round_seconds = 1e-3, .seconds_per_byte = 1e-9};
  const auto question = question_of(rows, 3);
  EXPECT_LT(gather_seconds(far, question), sparse_seconds(far, question));
}

TEST(ExchangeCost, ManyRowsOnNarrowLinksGoWhereTheyAreNeeded) {
  const std::vector<uint32_t> rows = {16, 16, 16, 16};
  const RoundRates narrow{.round_seconds = 1e-4, .seconds_per_byte = 80e-9};
  const auto question = question_of(rows, 1.4);
  EXPECT_LT(sparse_seconds(narrow, question), gather_seconds(narrow, question));
  // 16 rows of 4 KiB each way, 1.4 times with three counts, and 3 times.
  EXPECT_NEAR(sparse_seconds(narrow, question), 2e-4 + (16 * 1.4 * 8192 + 3 * 24) * 80e-9, 1e-9);
  EXPECT_NEAR(gather_seconds(narrow, question), 2e-4 + 16 * 3 * 8192 * 80e-9, 1e-9);
}

TEST(ExchangeCost, TheRankWithMostRowsCounts) {
  const RoundRates links{.round_seconds = 0, .seconds_per_byte = 1};
  const std::vector<uint32_t> even = {2, 2}, uneven = {4, 0};
  EXPECT_DOUBLE_EQ(gather_seconds(links, question_of(uneven, 1)),
                   2 * gather_seconds(links, question_of(even, 1)));
}

TEST(ExchangeCost, CopiesOfExpertsThatLieAnywhere) {
  EXPECT_DOUBLE_EQ(expected_copies(2, 1), 0.5);
  EXPECT_NEAR(expected_copies(4, 2), 3 * (1 - 9.0 / 16), 1e-12);
  EXPECT_NEAR(expected_copies(8, 64), 7, 0.01);
}

}  // namespace
}  // namespace switchyard
