#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "runtime/base/dtype.h"

namespace switchyard {

inline constexpr uint32_t kLanes = 16;  // output rows of a block; also partial sums of a reduction

// A weight matrix [rows, cols] in kernel-ready form: blocks of 16 output rows, inside a block the
// weights of one column (16 lanes) lie together, columns ascending. BF16 columns come in pairs, so
// that a 32-bit lane holds (column 2i, low half; column 2i + 1, high half). Missing rows of the
// last block and the missing column of an odd BF16 pair are zeros that no result depends on. Does
// not own.
struct MatrixView {
  const std::byte* data = nullptr;
  DType dtype = DType::kF32;
  uint32_t rows = 0;
  uint32_t cols = 0;
  size_t block_stride = 0;  // bytes from block to block; 0: they lie close

  uint32_t blocks() const { return (rows + kLanes - 1) / kLanes; }
};

// Bytes of one block of 16 rows, and of the whole matrix. A multiple of 32.
size_t block_bytes(DType dtype, uint32_t cols);
// From one block of a view to the next.
size_t block_stride(const MatrixView& matrix);
// Columns [begin, end) of a matrix; `begin` is even.
MatrixView columns_of(const MatrixView& matrix, uint32_t begin, uint32_t end);
// The blocks that hold rows [begin, end): from row begin / 16 · 16 on.
MatrixView blocks_of(const MatrixView& matrix, uint32_t begin, uint32_t end);
size_t matrix_bytes(DType dtype, uint32_t rows, uint32_t cols);

// Rearranges up to 16 consecutive row-major rows into one block at `block`. `rows_here` in 1…16;
// source rows are `source_stride` bytes apart and need no alignment.
void interleave_block(DType dtype, const std::byte* source, size_t source_stride,
                      uint32_t rows_here, uint32_t cols, std::byte* block);

// The whole of a row-major matrix.
void interleave(DType dtype, const std::byte* source, uint32_t rows, uint32_t cols, std::byte* out);

// One row as fp32 [cols]: an embedding look-up.
void read_row(const MatrixView& matrix, uint32_t row, float* out);

// `count` stored elements as fp32.
void widen(DType dtype, const std::byte* source, size_t count, float* out);

// False when any of the stored elements (unaligned) is a NaN or an infinity.
bool all_finite(DType dtype, std::span<const std::byte> elements);

}  // namespace switchyard
