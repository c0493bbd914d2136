#include "runtime/kernels/matrix.h"

#include <emmintrin.h>

#include <bit>
#include <cstring>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

template <class T>
T read(const std::byte* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float from_bfloat(uint16_t bits) { return std::bit_cast<float>(uint32_t{bits} << 16); }

// Denormals included: the exponent is moved by an exact product.
float half_value(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t sign = (half & 0x8000u) << 16;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000u | magnitude << 13);
  const float scaled = std::bit_cast<float>(magnitude << 13) * 0x1p112f;
  return std::bit_cast<float>(sign | std::bit_cast<uint32_t>(scaled));
}

float stored_value(DType dtype, const std::byte* at) {
  switch (dtype) {
    case DType::kF32:
      return read<float>(at);
    case DType::kBF16:
      return from_bfloat(read<uint16_t>(at));
    case DType::kF16:
      return half_value(read<uint16_t>(at));
  }
  return 0;
}

// Where the weight of (lane, col) lies in a block.
size_t offset_in_block(DType dtype, uint32_t lane, uint32_t col) {
  switch (dtype) {
    case DType::kF32:
      return (size_t{col} * kLanes + lane) * 4;
    case DType::kBF16:
      return (size_t{col / 2} * kLanes + lane) * 4 + col % 2 * 2;
    case DType::kF16:
      return (size_t{col} * kLanes + lane) * 2;
  }
  return 0;
}

// The columns [begin, end) of one row, element by element.
void place_columns(DType dtype, const std::byte* row, uint32_t lane, uint32_t begin, uint32_t end,
                   std::byte* block) {
  const size_t bytes = dtype_bytes(dtype);
  for (uint32_t col = begin; col < end; ++col) {
    std::memcpy(block + offset_in_block(dtype, lane, col), row + col * bytes, bytes);
  }
}

__m128i load(const std::byte* at) { return _mm_loadu_si128(reinterpret_cast<const __m128i*>(at)); }
void store(std::byte* at, __m128i v) { _mm_storeu_si128(reinterpret_cast<__m128i*>(at), v); }

// Four words of four rows become four lanes of four columns of words.
void transpose_words(const std::byte* source, size_t stride, std::byte* block) {
  const __m128i a = load(source), b = load(source + stride);
  const __m128i c = load(source + 2 * stride), d = load(source + 3 * stride);
  const __m128i ab_low = _mm_unpacklo_epi32(a, b), ab_high = _mm_unpackhi_epi32(a, b);
  const __m128i cd_low = _mm_unpacklo_epi32(c, d), cd_high = _mm_unpackhi_epi32(c, d);
  store(block, _mm_unpacklo_epi64(ab_low, cd_low));
  store(block + 64, _mm_unpackhi_epi64(ab_low, cd_low));
  store(block + 128, _mm_unpacklo_epi64(ab_high, cd_high));
  store(block + 192, _mm_unpackhi_epi64(ab_high, cd_high));
}

// Eight halves of eight rows become eight lanes of eight columns.
void transpose_halves(const std::byte* source, size_t stride, std::byte* block) {
  __m128i a[8], b[8];
  for (int i = 0; i < 8; ++i) a[i] = load(source + i * stride);
  for (int i = 0; i < 4; ++i) {
    b[2 * i] = _mm_unpacklo_epi16(a[i], a[i + 4]);
    b[2 * i + 1] = _mm_unpackhi_epi16(a[i], a[i + 4]);
  }
  for (int i = 0; i < 4; ++i) {
    a[2 * i] = _mm_unpacklo_epi16(b[i], b[i + 4]);
    a[2 * i + 1] = _mm_unpackhi_epi16(b[i], b[i + 4]);
  }
  for (int i = 0; i < 4; ++i) {
    store(block + 64 * i, _mm_unpacklo_epi16(a[i], a[i + 4]));
    store(block + 64 * i + 32, _mm_unpackhi_epi16(a[i], a[i + 4]));
  }
}

// Whole rows of 16: pieces of 16 bytes a row; returns the columns done. BF16 pairs move as words.
uint32_t place_full_block(DType dtype, const std::byte* source, size_t stride, uint32_t cols,
                          std::byte* block) {
  const uint32_t per_piece = dtype == DType::kF32 ? 4 : 8;
  const uint32_t rows_together = dtype == DType::kF16 ? 8 : 4;
  const uint32_t pieces = cols / per_piece;
  for (uint32_t piece = 0; piece < pieces; ++piece) {
    for (uint32_t lane = 0; lane < kLanes; lane += rows_together) {
      const std::byte* from = source + lane * stride + size_t{piece} * 16;
      std::byte* to = block + size_t{piece} * 256;
      if (dtype == DType::kF16) {
        transpose_halves(from, stride, to + lane * 2);
      } else {
        transpose_words(from, stride, to + lane * 4);
      }
    }
  }
  return pieces * per_piece;
}

// Adding one to an exponent of all ones, and to no other, carries into the sign bit.
template <class T>
bool exponents_finite(std::span<const std::byte> elements, T magnitude, T one) {
  T carries = 0;
  for (size_t i = 0; i + sizeof(T) <= elements.size(); i += sizeof(T)) {
    carries |= static_cast<T>((read<T>(elements.data() + i) & magnitude) + one);
  }
  return (carries & static_cast<T>(~magnitude)) == 0;
}

}  // namespace

size_t block_bytes(DType dtype, uint32_t cols) {
  const size_t columns = dtype == DType::kBF16 ? (size_t{cols} + 1) / 2 * 2 : cols;
  return columns * kLanes * dtype_bytes(dtype);
}

size_t block_stride(const MatrixView& matrix) {
  return matrix.block_stride != 0 ? matrix.block_stride : block_bytes(matrix.dtype, matrix.cols);
}

MatrixView columns_of(const MatrixView& matrix, uint32_t begin, uint32_t end) {
  CHECK_THAT(begin % 2 == 0 && begin < end && end <= matrix.cols, "{} to {} of {}", begin, end,
             matrix.cols);
  MatrixView columns = matrix;
  columns.data += offset_in_block(matrix.dtype, 0, begin);
  columns.cols = end - begin;
  columns.block_stride = block_stride(matrix);
  return columns;
}

MatrixView blocks_of(const MatrixView& matrix, uint32_t begin, uint32_t end) {
  CHECK_THAT(begin < end && end <= matrix.rows, "{} to {} of {}", begin, end, matrix.rows);
  MatrixView blocks = matrix;
  blocks.data += begin / kLanes * block_stride(matrix);
  blocks.rows = end - begin / kLanes * kLanes;
  return blocks;
}

size_t matrix_bytes(DType dtype, uint32_t rows, uint32_t cols) {
  return (size_t{rows} + kLanes - 1) / kLanes * block_bytes(dtype, cols);
}

void interleave_block(DType dtype, const std::byte* source, size_t source_stride,
                      uint32_t rows_here, uint32_t cols, std::byte* block) {
  CHECK(rows_here >= 1 && rows_here <= kLanes);
  uint32_t done = 0;
  if (rows_here == kLanes) {
    done = place_full_block(dtype, source, source_stride, cols, block);
    if (done == cols) return;
  }
  const size_t placed = offset_in_block(dtype, 0, done);
  std::memset(block + placed, 0, block_bytes(dtype, cols) - placed);
  for (uint32_t lane = 0; lane < rows_here; ++lane) {
    place_columns(dtype, source + lane * source_stride, lane, done, cols, block);
  }
}

void interleave(DType dtype, const std::byte* source, uint32_t rows, uint32_t cols,
                std::byte* out) {
  const size_t row_bytes = size_t{cols} * dtype_bytes(dtype);
  for (uint32_t row = 0; row < rows; row += kLanes) {
    const uint32_t here = rows - row < kLanes ? rows - row : kLanes;
    interleave_block(dtype, source + row * row_bytes, row_bytes, here, cols, out);
    out += block_bytes(dtype, cols);
  }
}

void read_row(const MatrixView& matrix, uint32_t row, float* out) {
  CHECK_THAT(row < matrix.rows, "row {} of {}", row, matrix.rows);
  const std::byte* block = matrix.data + row / kLanes * block_bytes(matrix.dtype, matrix.cols);
  for (uint32_t col = 0; col < matrix.cols; ++col) {
    out[col] = stored_value(matrix.dtype, block + offset_in_block(matrix.dtype, row % kLanes, col));
  }
}

void widen(DType dtype, const std::byte* source, size_t count, float* out) {
  for (size_t i = 0; i < count; ++i) out[i] = stored_value(dtype, source + i * dtype_bytes(dtype));
}

bool all_finite(DType dtype, std::span<const std::byte> elements) {
  switch (dtype) {
    case DType::kF32:
      return exponents_finite<uint32_t>(elements, 0x7fffffff, 0x00800000);
    case DType::kBF16:
      return exponents_finite<uint16_t>(elements, 0x7fff, 0x0080);
    case DType::kF16:
      return exponents_finite<uint16_t>(elements, 0x7fff, 0x0400);
  }
  return false;
}

}  // namespace switchyard
