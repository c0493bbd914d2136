#pragma once

// Every operation whose result reaches a logit, once per instruction set. All rows of the table
// give the same bits (of a NaN: that it is one); the scalar row is the definition. Functions are
// pure, never block and may be called from any thread on disjoint outputs. Pointers need no
// alignment beyond their type's. Sizes need be no multiple of anything, but rows of activations are
// padded: `y` rows of a product are written in whole blocks of 16 elements.
//
// e^x is ours: within one unit in the last place, 0 at −inf and inf above 88.73, NaN stays.
// sigmoid(x) = 1 / (1 + e^−x), silu(x) = x / (1 + e^−x). A reduction over n elements takes element
// i into partial i mod 16 from +0, the last 16 filled up with zeros, and joins the partials
// pairwise: i, i + 8; then i, i + 4; i, i + 2; i, i + 1.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/base/result.h"
#include "runtime/kernels/matrix.h"

namespace switchyard {

inline constexpr uint32_t kPagePositions = 16;  // positions of one KV page; part of the definition

// One layer's keys and values of one sequence for one KV head. Position p lies in page
// pages[p / 16]. Positions not attended may hold anything and are not read.
struct KvView {
  const float* const* pages = nullptr;  // the sequence's page table
  size_t key_offset = 0;       // floats from the page's start to position 0's key of this head
  size_t value_offset = 0;     // the same for its value
  size_t position_stride = 0;  // floats between positions
};

struct Kernels {
  const char* name;  // "avx512", "avx2", "scalar": the values of --isa
  bool (*supported)();

  // Rows of x laid side by side for the products below: tiles of tile_tokens rows,
  // [tile][column][row in tile]; the last tile is as wide as what is left. `rows` lists the rows
  // taken (null: 0, 1, …). packed holds count · cols floats.
  uint32_t tile_tokens;
  void (*pack)(const float* x, size_t x_stride, const uint32_t* rows, uint32_t count, uint32_t cols,
               float* packed);

  // y[t][r] = Σ_k w[r][k] · x[t][k] for the rows of blocks [block_begin, block_end). One chain of
  // fused multiply-adds from +0 over ascending k for every `segment` columns (the last may be
  // shorter); the segments' sums are joined by the canonical tree (runtime/base/tree.h). segment ==
  // cols: a single chain. At most 4096 segments.
  void (*matmul)(const MatrixView& w, const float* packed, uint32_t tokens, uint32_t segment,
                 float* y, size_t y_stride, uint32_t block_begin, uint32_t block_end);

  // y[t][r] = silu(gate x)[t][r] · (up x)[t][r]; both matrices of one shape and storage type,
  // single chains.
  void (*gated_matmul)(const MatrixView& gate, const MatrixView& up, const float* packed,
                       uint32_t tokens, float* y, size_t y_stride, uint32_t block_begin,
                       uint32_t block_end);

  // y[i] = (x[i] · 1/√(mean of squares + eps)) · weight[i]. The sum of squares is taken per
  // `segment` elements by fused multiply-adds into 16 partials, the segments joined by the
  // canonical tree. x may be y.
  void (*rms_norm)(const float* x, const float* weight, uint32_t n, uint32_t segment, float eps,
                   float* y);

  // Its halves, for a row of which others hold a part: one segment's sum of squares, and what is
  // done with their mean.
  float (*sum_of_squares)(const float* x, uint32_t n);
  void (*normalise)(const float* x, const float* weight, uint32_t n, float mean_square, float eps,
                    float* y);

  // Rotates pairs (i, i + half) in place: a·cos − b·sin and b·cos + a·sin; the product with sin is
  // rounded first, then fused into the one with cos.
  void (*rope)(float* x, const float* cos, const float* sin, uint32_t half);

  // Attention of `heads` query heads (q rows of q_stride floats) over positions [begin, end) of one
  // KV head, end − 1 being the query's own. Per page, its positions ascending from `begin`: scores
  // are dot products by 16 partials, times scale; m' = max(m, scores), alpha = e^(m − m'), weights
  // e^(score − m'); sum = sum · alpha + the 16 weights joined; out = out · alpha, then one fused
  // multiply-add a position. At the end out / sum. out rows of out_stride floats. Needs begin <
  // end.
  void (*attend)(const float* q, size_t q_stride, uint32_t heads, const KvView& kv,
                 uint32_t head_dim, float scale, uint32_t begin, uint32_t end, float* out,
                 size_t out_stride);

  void (*add)(const float* a, const float* b, uint32_t n, float* y);  // y = a + b; may alias
  void (*scale)(const float* x, float factor, uint32_t n, float* y);  // y = x · factor; may alias
  void (*clip)(float* x, float limit, uint32_t n);  // to [−limit, limit]; NaN stays
  void (*softmax)(float* x, uint32_t n);            // in place; 16 partial sums
  float (*sigmoid)(float x);

  // For measuring bounds, not for models. Sums `bytes` (a multiple of 64 · streams) read as
  // `streams` parallel sequential streams.
  float (*read_streams)(const std::byte* data, size_t bytes, uint32_t streams);
  // Executes `rounds` rounds of independent fused multiply-adds; returns floating-point operations
  // done (2 per multiply-add and lane); `sink` keeps the work alive.
  double (*fma_rounds)(uint64_t rounds, float* sink);
};

// Best first; the scalar row is last and always supported.
std::span<const Kernels> all_kernels();

// The best supported row, or the one named by `forced` ("": best). kConfig: this processor lacks
// it; kUsage: no such name.
Result<const Kernels*> select_kernels(std::string_view forced);

}  // namespace switchyard
