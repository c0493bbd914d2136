#include "runtime/kernels/matrix.h"

#include "tests/runtime/kernels/kernels_testing.h"

namespace switchyard {
namespace {

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

TEST(Matrix, BlocksAreMultiplesOf32Bytes) {
  EXPECT_EQ(block_bytes(DType::kF32, 3), 3u * 64);
  EXPECT_EQ(block_bytes(DType::kBF16, 3), 4u * 32);
  EXPECT_EQ(block_bytes(DType::kF16, 3), 3u * 32);
  EXPECT_EQ(matrix_bytes(DType::kBF16, 17, 3), 2u * 128);
  EXPECT_EQ(matrix_bytes(DType::kF32, 1 << 20, 1 << 14), size_t{1} << 36);
}

TEST(Matrix, RowsComeBackFromBlocks) {
  Prng prng(1);
  for (const DType dtype : kDTypes) {
    for (const uint32_t rows : {1u, 15u, 16u, 17u, 48u}) {
      for (const uint32_t cols : {1u, 2u, 7u, 8u, 9u, 64u, 131u}) {
        SCOPED_TRACE(testing::Message() << dtype_name(dtype) << ' ' << rows << 'x' << cols);
        const auto source = random_elements(prng, dtype, size_t{rows} * cols);
        std::vector<std::byte> blocks(matrix_bytes(dtype, rows, cols), std::byte{0xff});
        interleave(dtype, source.data(), rows, cols, blocks.data());
        const MatrixView view = {blocks.data(), dtype, rows, cols};
        std::vector<float> expected(cols), found(cols);
        for (uint32_t row = 0; row < rows; ++row) {
          widen(dtype, source.data() + size_t{row} * cols * dtype_bytes(dtype), cols,
                expected.data());
          read_row(view, row, found.data());
          expect_same_bits(expected, found);
        }
      }
    }
  }
}

TEST(Matrix, PaddingIsZero) {
  Prng prng(2);
  const auto source = random_elements(prng, DType::kBF16, 16 * 5);
  std::vector<std::byte> blocks(matrix_bytes(DType::kBF16, 16, 5), std::byte{0xff});
  interleave(DType::kBF16, source.data(), 16, 5, blocks.data());
  for (int lane = 0; lane < 16; ++lane) {
    EXPECT_EQ(blocks[2 * 64 + lane * 4 + 2], std::byte{0});
    EXPECT_EQ(blocks[2 * 64 + lane * 4 + 3], std::byte{0});
  }
}

TEST(Matrix, BlocksTakeStridedUnalignedRows) {
  Prng prng(3);
  for (const DType dtype : kDTypes) {
    const uint32_t cols = 37;
    const size_t row_bytes = cols * dtype_bytes(dtype), stride = row_bytes + 3;
    const auto source = random_elements(prng, dtype, size_t{16} * cols);
    std::vector<std::byte> strided(1 + 16 * stride);
    for (int row = 0; row < 16; ++row) {
      std::memcpy(&strided[1 + row * stride], &source[row * row_bytes], row_bytes);
    }
    std::vector<std::byte> expected(block_bytes(dtype, cols)), found(expected.size());
    interleave(dtype, source.data(), 16, cols, expected.data());
    interleave_block(dtype, strided.data() + 1, stride, 16, cols, found.data());
    EXPECT_EQ(expected, found);
  }
}

// The value of an F16 number from its definition.
float half_value(uint16_t half) {
  const int exponent = half >> 10 & 31, fraction = half & 1023;
  const double magnitude =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return static_cast<float>(half & 0x8000 ? -magnitude : magnitude);
}

TEST(Matrix, EveryHalfWidensExactly) {
  for (uint32_t i = 0; i < 0x10000; ++i) {
    const auto half = static_cast<uint16_t>(i);
    float found = 0;
    widen(DType::kF16, reinterpret_cast<const std::byte*>(&half), 1, &found);
    if ((half & 0x7c00) != 0x7c00) {
      ASSERT_TRUE(same_bits(found, half_value(half))) << half;
    } else {
      ASSERT_EQ(std::isnan(found), (half & 0x3ff) != 0) << half;
      ASSERT_EQ(std::signbit(found), half >= 0x8000) << half;
    }
  }
}

TEST(Matrix, FindsEveryPlaceOfANonFiniteElement) {
  Prng prng(4);
  for (const DType dtype : kDTypes) {
    const size_t bytes = dtype_bytes(dtype);
    const size_t count = 67;
    std::vector<std::byte> elements(1);
    const auto random = random_elements(prng, dtype, count);
    elements.insert(elements.end(), random.begin(), random.end());
    const auto view = std::span<const std::byte>(elements).subspan(1);
    ASSERT_TRUE(all_finite(dtype, view));
    ASSERT_TRUE(all_finite(dtype, {}));
    const uint32_t infinity = dtype == DType::kF32    ? 0x7f800000
                              : dtype == DType::kBF16 ? 0x7f80
                                                      : 0x7c00;
    const uint32_t sign = dtype == DType::kF32 ? 0x80000000 : 0x8000;
    const uint32_t largest = infinity - 1;
    for (size_t i = 0; i < count; ++i) {
      std::vector<std::byte> changed = elements;
      const auto with = [&](uint32_t bits) {
        std::memcpy(&changed[1 + i * bytes], &bits, bytes);
        return all_finite(dtype, std::span<const std::byte>(changed).subspan(1));
      };
      EXPECT_TRUE(with(largest));
      EXPECT_TRUE(with(largest | sign));
      EXPECT_FALSE(with(infinity));
      EXPECT_FALSE(with(infinity | sign));
      EXPECT_FALSE(with(infinity | 1));
      EXPECT_FALSE(with(sign | (sign - 1)));
    }
  }
}

}  // namespace
}  // namespace switchyard
