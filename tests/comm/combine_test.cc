#include "comm/combine.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

// Values for which the association shows in the last bits.
TEST(Combine, AddsAlongTheExpertTree) {
  const Kernels& kernels = all_kernels().back();
  std::vector<std::vector<float>> rows = {{1e8f}, {1.f}, {-1e8f}, {3.f}};
  const std::vector<uint32_t> places = {0, 3, 4, 7};
  std::vector<float*> leaves;
  for (auto& row : rows) leaves.push_back(row.data());
  const float* sum = combine_token(kernels, {.places = places, .leaf_rows = leaves}, 8, 1);
  const float left = 1e8f + 1.f, right = -1e8f + 3.f;
  EXPECT_EQ(*sum, left + right);
}

TEST(Combine, PassesASingleLeafOn) {
  const Kernels& kernels = all_kernels().back();
  std::vector<float> row = {-0.0f, 2.5f};
  float* leaf = row.data();
  const uint32_t place = 5;
  const float* sum = combine_token(kernels, {.places = {&place, 1}, .leaf_rows = {&leaf, 1}}, 8, 2);
  EXPECT_EQ(sum, leaf);
  EXPECT_TRUE(std::signbit(sum[0])) << "no zero is added";
}

}  // namespace
}  // namespace switchyard
