#include "launch/calibration.h"

#include <gtest/gtest.h>

#include <array>

#include "launch/machine.h"
#include "runtime/device/worker_pool.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

TEST(Calibration, GivesEveryFigure) {
  WorkerPool pool(2);
  constexpr std::array kTypes = {DType::kBF16};
  const auto figures =
      measure_kernels(pool, *select_kernels("").value(), kTypes, uint64_t{64} << 20);
  ASSERT_TRUE(figures) << to_line(figures.error());
  const ProductCurve& curve = figures->products.at("BF16");
  ASSERT_GE(curve.size(), 1U);
  EXPECT_EQ(curve.front().tokens, 1U);
  for (size_t i = 1; i < curve.size(); ++i) {
    EXPECT_GT(curve[i].tokens, curve[i - 1].tokens);
    EXPECT_GT(curve[i].weights_per_second, 1e5);
  }
  // Many tokens take longer than one.
  EXPECT_LT(curve.back().weights_per_second, curve.front().weights_per_second);
  EXPECT_GT(figures->section_seconds, 0);
  EXPECT_GT(figures->attention_flops, 1e6);
  EXPECT_GT(figures->row_elements, 1e6);
  EXPECT_GT(figures->checksum_bytes_per_second, 1e6);
  EXPECT_GT(figures->interleave_bytes_per_second, 1e6);
}

}  // namespace
}  // namespace switchyard
