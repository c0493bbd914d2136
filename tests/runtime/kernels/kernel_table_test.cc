#include "runtime/kernels/kernel_table.h"

#include "tests/runtime/kernels/kernels_testing.h"

namespace switchyard {
namespace {

TEST(KernelTable, ScalarIsLastAndAlwaysThere) {
  EXPECT_STREQ(scalar_kernels().name, "scalar");
  EXPECT_TRUE(scalar_kernels().supported());
}

TEST(KernelTable, TheBestSupportedRowIsChosen) {
  const auto best = select_kernels("");
  ASSERT_TRUE(best);
  EXPECT_EQ(*best, supported_kernels().front());
}

TEST(KernelTable, ARowCanBeForced) {
  for (const Kernels& kernels : all_kernels()) {
    const auto found = select_kernels(kernels.name);
    if (kernels.supported()) {
      ASSERT_TRUE(found);
      EXPECT_EQ(*found, &kernels);
    } else {
      ASSERT_FALSE(found);
      EXPECT_EQ(found.error().code, Code::kConfig);
    }
  }
}

TEST(KernelTable, AnUnknownNameIsAUsageErrorThatListsTheNames) {
  const auto found = select_kernels("neon");
  ASSERT_FALSE(found);
  EXPECT_EQ(found.error().code, Code::kUsage);
  EXPECT_NE(to_line(found.error()).find("neon"), std::string::npos);
  EXPECT_NE(to_line(found.error()).find("avx512, avx2, scalar"), std::string::npos);
}

}  // namespace
}  // namespace switchyard
