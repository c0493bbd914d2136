#include "runtime/kernels/row_slice.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(RowSlice, SlicesFollowEachOtherInWholeBlocksOfAboutOneSize) {
  for (const uint32_t rows : {1U, 16U, 17U, 96U, 130U, 14336U}) {
    const uint32_t blocks = (rows + kLanes - 1) / kLanes;
    for (const uint32_t count : {1U, 2U, 3U, 5U, 8U, 64U}) {
      uint32_t end = 0;
      for (uint32_t index = 0; index < count; ++index) {
        const RowRange range = rows_of({index, count}, rows);
        EXPECT_EQ(range.begin, end);
        EXPECT_TRUE(range.begin % kLanes == 0 || range.begin == rows);
        const uint32_t own = (range.rows() + kLanes - 1) / kLanes;
        EXPECT_GE(own, blocks / count);
        EXPECT_LE(own, blocks / count + 1);
        end = range.end;
      }
      EXPECT_EQ(end, rows);
    }
  }
}

}  // namespace
}  // namespace switchyard
