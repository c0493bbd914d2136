#include "comm/liveness.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(Liveness, SilenceIsLossAndTheLongestIsNamed) {
  Liveness liveness(1, 4, 6, 100);
  EXPECT_EQ(liveness.lost(105.9), std::nullopt);
  liveness.heard(0, 105);
  liveness.heard(2, 101);
  liveness.heard(3, 102);
  EXPECT_EQ(liveness.lost(106.9), std::nullopt) << "a rank need not hear itself";
  EXPECT_EQ(liveness.lost(107), 2U);
  EXPECT_EQ(liveness.lost(200), 2U);
  liveness.heard(2, 200);
  EXPECT_EQ(liveness.lost(200), 3U);
}

}  // namespace
}  // namespace switchyard
