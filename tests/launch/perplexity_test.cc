#include "launch/perplexity.h"

#include <gtest/gtest.h>

#include <cmath>

namespace switchyard {
namespace {

TEST(PlanWindows, ScoreEveryRowOnceInOrder) {
  for (const size_t rows : {1, 2, 7, 16, 33}) {
    for (const size_t context : {1, 2, 5, 16, 40}) {
      for (size_t stride = 1; stride <= context; ++stride) {
        size_t next = 0;
        for (const EvalWindow& window : plan_windows(rows, context, stride)) {
          EXPECT_EQ(window.score_begin, next);
          EXPECT_LE(window.begin, window.score_begin);
          EXPECT_LT(window.score_begin, window.end);
          EXPECT_LE(window.end - window.begin, context);
          next = window.end;
        }
        EXPECT_EQ(next, rows);
      }
    }
  }
}

TEST(PlanWindows, IsOneWhenAllFits) { EXPECT_EQ(plan_windows(10, 10, 3).size(), 1U); }

TEST(PlanWindows, SmallerStridesGiveMoreContext) {
  const auto windows = plan_windows(10, 4, 2);
  ASSERT_EQ(windows.size(), 4U);
  EXPECT_EQ(windows[1].begin, 2U);
  EXPECT_EQ(windows[1].score_begin, 4U);
  EXPECT_EQ(windows[1].end, 6U);
}

TEST(NegativeLogLikelihood, IsThatOfTheSoftmax) {
  const float logits[] = {1, 2, 3};
  const double sum = std::exp(1.0) + std::exp(2.0) + std::exp(3.0);
  for (size_t i = 0; i < 3; ++i) {
    EXPECT_NEAR(negative_log_likelihood(logits, i), std::log(sum) - logits[i], 1e-14);
  }
}

TEST(NegativeLogLikelihood, DoesNotOverflow) {
  const float logits[] = {1e30F, -1e30F};
  EXPECT_EQ(negative_log_likelihood(logits, 0), 0);
  EXPECT_GT(negative_log_likelihood(logits, 1), 1e29);
}

TEST(Perplexity, OfEvenOddsIsTheirNumber) {
  const float logits[] = {5, 5, 5, 5};
  EXPECT_NEAR(perplexity(3 * negative_log_likelihood(logits, 2), 3), 4, 1e-12);
}

}  // namespace
}  // namespace switchyard
