#pragma once

// Products of a matrix in blocks of 16 rows with packed tokens. A register tile is Blocks blocks by
// Tokens tokens: a vector lane is an output row, so that a chain over the columns is the same
// whatever else is in the tile.

#include <cstddef>
#include <cstdint>

#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/vector_math_body.h"

#define SWITCHYARD_UNROLL _Pragma("GCC unroll 32")
// Keeps the compiler from loading a column's operands during another one, and then spilling sums.
#define SWITCHYARD_BARRIER __asm__ volatile("" ::: "memory")

namespace switchyard::kernel_body {

inline constexpr size_t kGroupBytes = 512 << 10;  // weights kept in L2 while the tiles pass by
inline constexpr size_t kPrefetchBytes = 1024;    // ahead of each block of weights

template <class V>
static void pack(const float* x, size_t x_stride, const uint32_t* rows, uint32_t count,
                 uint32_t cols, float* packed) {
  static_assert(V::kTileTokens <= 16);
  for (uint32_t first = 0; first < count; first += V::kTileTokens) {
    const uint32_t width = count - first < V::kTileTokens ? count - first : V::kTileTokens;
    const float* row[16] = {};
    for (uint32_t t = 0; t < width; ++t) {
      row[t] = x + (rows != nullptr ? rows[first + t] : first + t) * x_stride;
    }
    float* out = packed + static_cast<size_t>(first) * cols;
    const float* const out_end = out + static_cast<size_t>(width) * cols;
    for (uint32_t col = 0; col < cols; col += 16) {
      V v[16];
      for (uint32_t t = 0; t < 16; ++t) {
        v[t] = t < width ? V::load_first(row[t] + col, cols - col) : V::zero();
      }
      V::transpose(v);
      const uint32_t columns = cols - col < 16 ? cols - col : 16;
      for (uint32_t c = 0; c < columns; ++c, out += width) {
        // What a whole vector writes past this column is overwritten by the next ones.
        if (out_end - out >= 16) {
          V::store(out, v[c]);
        } else {
          V::store_first(out, v[c], width);
        }
      }
    }
  }
}

// How the weights of a block are read: pairs of columns, one of the pair at a time. An even and an
// odd BF16 column come out of the same 64 bytes, which the second time are in L1: cheaper than the
// registers that both would take.
template <class V, DType D>
struct Columns {
  static constexpr size_t kPairBytes = D == DType::kF32 ? 128 : 64;

  static inline V even(const std::byte* pair) {
    if constexpr (D == DType::kBF16) return V::load_bfloat_even(pair);
    if constexpr (D == DType::kF16) return V::load_half(pair);
    if constexpr (D == DType::kF32) return V::load(reinterpret_cast<const float*>(pair));
  }

  static inline V odd(const std::byte* pair) {
    if constexpr (D == DType::kBF16) return V::load_bfloat_odd(pair);
    if constexpr (D == DType::kF16) return V::load_half(pair + 32);
    if constexpr (D == DType::kF32) return V::load(reinterpret_cast<const float*>(pair + 64));
  }
};

template <class V, int Blocks, int Tokens>
struct Tile {
  V sums[Blocks][Tokens];
};

// One more column for every sum of the tile.
template <class V, DType D, bool Odd, int Blocks, int Tokens>
[[gnu::always_inline]] static inline void multiply_column(V (&sums)[Blocks][Tokens],
                                                          const std::byte* const (&blocks)[Blocks],
                                                          size_t offset, const float* x) {
  using C = Columns<V, D>;
  SWITCHYARD_BARRIER;
  V w[Blocks];
  SWITCHYARD_UNROLL
  for (int b = 0; b < Blocks; ++b) {
    w[b] = Odd ? C::odd(blocks[b] + offset) : C::even(blocks[b] + offset);
  }
  SWITCHYARD_UNROLL
  for (int t = 0; t < Tokens; ++t) {
    const V value = V::set1(x[t]);
    SWITCHYARD_UNROLL
    for (int b = 0; b < Blocks; ++b) sums[b][t] = V::fma(w[b], value, sums[b][t]);
  }
}

// One chain of fused multiply-adds from +0 over the columns [begin, end) for every output of a
// tile. x: column 0 of the packed tile.
template <class V, DType D, int Blocks, int Tokens>
static inline void chain(const std::byte* const (&from)[Blocks], const float* x, uint32_t begin,
                         uint32_t end, Tile<V, Blocks, Tokens>& out) {
  constexpr size_t kPairBytes = Columns<V, D>::kPairBytes;
  const std::byte* blocks[Blocks];  // of our own, so that they can stay in registers
  SWITCHYARD_UNROLL
  for (int b = 0; b < Blocks; ++b) blocks[b] = from[b];
  V sums[Blocks][Tokens];
  SWITCHYARD_UNROLL
  for (int b = 0; b < Blocks; ++b) {
    SWITCHYARD_UNROLL
    for (int t = 0; t < Tokens; ++t) sums[b][t] = V::zero();
  }
  uint32_t col = begin;
  size_t offset = col / 2 * kPairBytes;
  x += static_cast<size_t>(col) * Tokens;
  if (col % 2 != 0 && col < end) {
    multiply_column<V, D, true>(sums, blocks, offset, x);
    ++col;
    x += Tokens;
    offset += kPairBytes;
  }
  for (uint32_t pairs = (end - col) / 2; pairs > 0; --pairs) {
    SWITCHYARD_UNROLL
    for (int b = 0; b < Blocks; ++b) {
      for (size_t line = 0; line < kPairBytes; line += 64) {
        __builtin_prefetch(blocks[b] + offset + line + kPrefetchBytes);
      }
    }
    multiply_column<V, D, false>(sums, blocks, offset, x);
    multiply_column<V, D, true>(sums, blocks, offset, x + Tokens);
    x += 2 * Tokens;
    offset += kPairBytes;
  }
  if ((end - col) % 2 != 0) multiply_column<V, D, false>(sums, blocks, offset, x);
  SWITCHYARD_UNROLL
  for (int b = 0; b < Blocks; ++b) {
    SWITCHYARD_UNROLL
    for (int t = 0; t < Tokens; ++t) out.sums[b][t] = sums[b][t];
  }
}

template <class V, int Blocks, int Tokens>
static inline void add_left(const Tile<V, Blocks, Tokens>& left, Tile<V, Blocks, Tokens>& sum) {
  for (int b = 0; b < Blocks; ++b) {
    for (int t = 0; t < Tokens; ++t) sum.sums[b][t] = V::add(left.sums[b][t], sum.sums[b][t]);
  }
}

// Chains of `segment` columns joined by the canonical tree, as SumStack does.
template <class V, DType D, int Blocks, int Tokens>
static void segmented_chain(const std::byte* const (&blocks)[Blocks], const float* x, uint32_t cols,
                            uint32_t segment, Tile<V, Blocks, Tokens>& out) {
  Tile<V, Blocks, Tokens> stack[13];
  uint32_t depth = 0, leaves = 0;
  for (uint32_t begin = 0; begin < cols; ++leaves) {
    const uint32_t end = cols - begin < segment ? cols : begin + segment;
    chain<V, D, Blocks, Tokens>(blocks, x, begin, end, out);
    for (uint32_t carry = leaves; (carry & 1) != 0; carry >>= 1) add_left(stack[--depth], out);
    stack[depth++] = out;
    begin = end;
  }
  out = stack[--depth];
  while (depth > 0) add_left(stack[--depth], out);
}

// One call of matmul (up == nullptr) or gated_matmul.
struct Product {
  const std::byte* weights;
  const std::byte* up;
  size_t block_bytes;
  uint32_t cols;
  uint32_t segment;
  float* y;
  size_t y_stride;
};

// Some rows of it: `count` blocks from `block`, `stride` blocks apart, one tile of tokens.
struct Part {
  uint32_t block;
  uint32_t stride;
  const float* x;
  float* y;
};

template <class V, DType D, int Blocks, int Tokens>
static void multiply_blocks(const Product& p, const Part& part) {
  const std::byte* blocks[Blocks];
  for (int b = 0; b < Blocks; ++b) {
    blocks[b] = p.weights + (part.block + size_t{part.stride} * b) * p.block_bytes;
  }
  Tile<V, Blocks, Tokens> tile;
  if (p.segment >= p.cols) {
    chain<V, D, Blocks, Tokens>(blocks, part.x, 0, p.cols, tile);
  } else {
    segmented_chain<V, D, Blocks, Tokens>(blocks, part.x, p.cols, p.segment, tile);
  }
  for (int t = 0; t < Tokens; ++t) {
    float* y = part.y + t * p.y_stride + size_t{part.block} * kLanes;
    for (int b = 0; b < Blocks; ++b) {
      V::store(y + size_t{part.stride} * b * kLanes, tile.sums[b][t]);
    }
  }
}

// The same for Blocks gate blocks and their up blocks, in one tile where registers suffice.
template <class V, DType D, int Blocks, int Tokens>
static void multiply_gated_blocks(const Product& p, const Part& part) {
  constexpr bool kTogether = 2 * Blocks <= V::blocks_at_once(Tokens);
  const std::byte* blocks[2 * Blocks];
  for (int b = 0; b < Blocks; ++b) {
    const size_t offset = (part.block + size_t{part.stride} * b) * p.block_bytes;
    blocks[b] = p.weights + offset;
    blocks[Blocks + b] = p.up + offset;
  }
  Tile<V, 2 * Blocks, Tokens> tile;
  if constexpr (kTogether) {
    chain<V, D, 2 * Blocks, Tokens>(blocks, part.x, 0, p.cols, tile);
  } else {
    for (int b = 0; b < 2 * Blocks; ++b) {
      const std::byte* const one[1] = {blocks[b]};
      Tile<V, 1, Tokens> single;
      chain<V, D, 1, Tokens>(one, part.x, 0, p.cols, single);
      for (int t = 0; t < Tokens; ++t) tile.sums[b][t] = single.sums[0][t];
    }
  }
  for (int t = 0; t < Tokens; ++t) {
    float* y = part.y + t * p.y_stride + size_t{part.block} * kLanes;
    for (int b = 0; b < Blocks; ++b) {
      V::store(y + size_t{part.stride} * b * kLanes,
               V::mul(silu(tile.sums[b][t]), tile.sums[Blocks + b][t]));
    }
  }
}

// Blocks [begin, end) by one tile. The blocks of a step lie a stride apart, so that over the steps
// each is a sequential stream of its own; what is left over takes narrower steps.
template <class V, DType D, bool Gated, int Blocks, int Tokens>
static void multiply_range(const Product& p, const float* x, float* y, uint32_t begin,
                           uint32_t end) {
  const uint32_t stride = (end - begin) / Blocks;
  for (uint32_t i = 0; i < stride; ++i) {
    const Part part = {begin + i, stride, x, y};
    if constexpr (Gated) {
      multiply_gated_blocks<V, D, Blocks, Tokens>(p, part);
    } else {
      multiply_blocks<V, D, Blocks, Tokens>(p, part);
    }
  }
  begin += stride * Blocks;
  if constexpr (Blocks > 1) {
    if (begin < end) multiply_range<V, D, Gated, Blocks / 2, Tokens>(p, x, y, begin, end);
  }
}

template <class V, DType D, bool Gated, int Tokens>
static void multiply_tile(const Product& p, uint32_t tokens, const float* x, float* y,
                          uint32_t begin, uint32_t end) {
  if (tokens == Tokens) {
    constexpr int kBlocks = V::blocks_at_once(Tokens) / (Gated ? 2 : 1);
    multiply_range<V, D, Gated, (kBlocks > 0 ? kBlocks : 1), Tokens>(p, x, y, begin, end);
  } else if constexpr (Tokens > 1) {
    multiply_tile<V, D, Gated, Tokens - 1>(p, tokens, x, y, begin, end);
  }
}

template <class V, DType D, bool Gated>
static void multiply(const Product& p, const float* packed, uint32_t tokens, uint32_t begin,
                     uint32_t end) {
  uint32_t group = end - begin;
  if (tokens > V::kTileTokens) {
    const size_t fits = kGroupBytes / (p.block_bytes + 1) / 2 * 2;
    group = fits < 2 ? 2 : fits > 16 ? 16 : static_cast<uint32_t>(fits);
  }
  for (uint32_t block = begin; block < end; block += group) {
    const uint32_t block_end = end - block < group ? end : block + group;
    for (uint32_t t = 0; t < tokens; t += V::kTileTokens) {
      const uint32_t width = tokens - t < V::kTileTokens ? tokens - t : V::kTileTokens;
      multiply_tile<V, D, Gated, V::kTileTokens>(p, width, packed + size_t{t} * p.cols,
                                                 p.y + t * p.y_stride, block, block_end);
    }
  }
}

template <class V, bool Gated>
static void multiply_any(const Product& p, DType dtype, const float* packed, uint32_t tokens,
                         uint32_t begin, uint32_t end) {
  switch (dtype) {
    case DType::kF32:
      return multiply<V, DType::kF32, Gated>(p, packed, tokens, begin, end);
    case DType::kBF16:
      return multiply<V, DType::kBF16, Gated>(p, packed, tokens, begin, end);
    case DType::kF16:
      return multiply<V, DType::kF16, Gated>(p, packed, tokens, begin, end);
  }
}

template <class V>
static void matmul(const MatrixView& w, const float* packed, uint32_t tokens, uint32_t segment,
                   float* y, size_t y_stride, uint32_t block_begin, uint32_t block_end) {
  const Product p = {w.data, nullptr, block_stride(w), w.cols, segment, y, y_stride};
  multiply_any<V, false>(p, w.dtype, packed, tokens, block_begin, block_end);
}

template <class V>
static void gated_matmul(const MatrixView& gate, const MatrixView& up, const float* packed,
                         uint32_t tokens, float* y, size_t y_stride, uint32_t block_begin,
                         uint32_t block_end) {
  const Product p = {gate.data, up.data, block_stride(gate), gate.cols, gate.cols, y, y_stride};
  multiply_any<V, true>(p, gate.dtype, packed, tokens, block_begin, block_end);
}

}  // namespace switchyard::kernel_body

#undef SWITCHYARD_UNROLL
#undef SWITCHYARD_BARRIER
