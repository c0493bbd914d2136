#include "runtime/engine/pass_choice.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

// How many of `steps` go in halves when a whole step and one in halves take so long.
uint32_t halved(double whole, double halves, uint32_t rows, uint32_t steps) {
  PassChoice choice;
  uint32_t count = 0;
  for (uint32_t step = 0; step < steps; ++step) {
    const bool in_halves = choice.halves(rows);
    choice.took(rows, in_halves, in_halves ? halves : whole);
    count += in_halves ? 1 : 0;
  }
  return count;
}

TEST(PassChoice, KeepsWhatIsQuicker) {
  EXPECT_GT(halved(2, 1, 64, 500), 450u);
  EXPECT_LT(halved(1, 2, 64, 500), 50u);
}

TEST(PassChoice, FewRowsAreNotWorthTwoPasses) { EXPECT_EQ(halved(2, 1, 15, 100), 0u); }

TEST(PassChoice, TriesAgainAndChangesItsMind) {
  PassChoice choice;
  uint32_t late = 0;
  for (uint32_t step = 0; step < 2000; ++step) {
    const bool in_halves = choice.halves(64);
    const bool now_better = step > 200;
    choice.took(64, in_halves, in_halves == now_better ? 1 : 2);
    late += step >= 1500 && in_halves ? 1 : 0;
  }
  EXPECT_GT(late, 450u);
}

}  // namespace
}  // namespace switchyard
