#include "scheduler/split_cost.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

constexpr RoundRates kFast = {.round_seconds = 20e-6, .seconds_per_byte = 0.2e-9};
constexpr RoundRates kNarrow = {.round_seconds = 300e-6, .seconds_per_byte = 25e-9};
constexpr RoundRates kSlow = {.round_seconds = 1e-3, .seconds_per_byte = 80e-9};

// 600 MB of attention and vocabulary in 16 layers.
SplitQuestion question_of(uint32_t ranks, uint32_t sequences) {
  return {.ranks = ranks,
          .layers = 16,
          .sequences = sequences,
          .chunk = 512,
          .weight_bytes = 600e6,
          .weight_bytes_per_second = 10e9,
          .row_bytes = 8192};
}

TEST(SplitCost, OneSequenceOnFastLinksIsSpread) {
  for (const uint32_t ranks : {2U, 4U, 8U}) {
    EXPECT_TRUE(split_is_quicker(kFast, question_of(ranks, 1))) << ranks;
  }
}

TEST(SplitCost, IsWhatIsReadLessThanTwoRoundsALayer) {
  const SplitQuestion question = question_of(2, 1);
  EXPECT_NEAR(decode_gain_seconds(kFast, question), 0.03 - 32 * (20e-6 + 8192 * 0.2e-9), 1e-9);
  // 512 rows take 32 times as long as one; each rank owns half of them.
  EXPECT_NEAR(prompt_gain_seconds(kFast, question), 32 * 0.03 - 32 * (20e-6 + 256 * 8192 * 0.2e-9),
              1e-9);
}

TEST(SplitCost, ManySequencesKeepAllRanksBusyWithoutIt) {
  const SplitQuestion many = question_of(4, 256);
  EXPECT_LT(decode_gain_seconds(kFast, many), 0);
  EXPECT_FALSE(split_is_quicker(kFast, many));
}

// A few rows are computed while the weights are read, whoever reads them.
TEST(SplitCost, AFewSequencesOnEachRankStillReadLess) {
  EXPECT_TRUE(split_is_quicker(kFast, question_of(2, 4)));
}

TEST(SplitCost, LittleToReadIsNotWorthTheRounds) {
  SplitQuestion tiny = question_of(2, 1);
  tiny.weight_bytes = 1e6;
  EXPECT_LT(decode_gain_seconds(kFast, tiny), 0);
}

// One token's rounds are few bytes, a prompt's rows are many.
TEST(SplitCost, APromptOnNarrowLinksIsNotSpread) {
  const SplitQuestion question = question_of(4, 1);
  EXPECT_GT(decode_gain_seconds(kNarrow, question), 0);
  EXPECT_LT(prompt_gain_seconds(kNarrow, question), 0);
  EXPECT_FALSE(split_is_quicker(kNarrow, question));
}

TEST(SplitCost, NothingIsSpreadOverSlowLinks) {
  for (const uint32_t sequences : {1U, 4U, 64U}) {
    EXPECT_LT(decode_gain_seconds(kSlow, question_of(4, sequences)), 0) << sequences;
    EXPECT_FALSE(split_is_quicker(kSlow, question_of(4, sequences))) << sequences;
  }
}

}  // namespace
}  // namespace switchyard
