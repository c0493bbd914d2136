#include "runtime/engine/products.h"

#include <algorithm>
#include <atomic>

#include "runtime/base/align.h"
#include "runtime/device/worker_pool.h"

namespace switchyard {
namespace {

// Blocks of 16 rows that one call computes: whole pairs, since kernels work on pairs; few enough
// that threads end together, many enough that weights stream.
constexpr uint32_t kPieceBlocks = 8;

constexpr uint64_t kMultipliesMin = 32768;  // fewer are done before another thread is awake

uint32_t pieces_of(const Product& product) {
  return static_cast<uint32_t>(ceil_div(product.w->blocks(), kPieceBlocks));
}

void run_piece(const Kernels& kernels, const Product& product, uint32_t piece) {
  const uint32_t begin = piece * kPieceBlocks;
  const uint32_t end = std::min(begin + kPieceBlocks, product.w->blocks());
  if (product.up != nullptr) {
    kernels.gated_matmul(*product.w, *product.up, product.packed, product.tokens, product.y,
                         product.y_stride, begin, end);
    return;
  }
  const uint32_t segment = product.segment == 0 ? product.w->cols : product.segment;
  kernels.matmul(*product.w, product.packed, product.tokens, segment, product.y, product.y_stride,
                 begin, end);
}

}  // namespace

void run_products(WorkerPool& pool, const Kernels& kernels, std::span<const Product> products) {
  uint32_t pieces = 0;
  uint64_t multiplies = 0;
  for (const Product& product : products) {
    pieces += pieces_of(product);
    multiplies += uint64_t{product.w->rows} * product.w->cols * product.tokens;
  }
  if (multiplies < kMultipliesMin) {
    for (const Product& product : products) {
      for (uint32_t piece = 0; piece < pieces_of(product); ++piece) {
        run_piece(kernels, product, piece);
      }
    }
    return;
  }
  std::atomic<uint32_t> next{0};
  pool.run([&](uint32_t) {
    auto product = products.begin();
    uint32_t first = 0;  // of *product
    for (uint32_t piece; (piece = next.fetch_add(1, std::memory_order_relaxed)) < pieces;) {
      while (piece - first >= pieces_of(*product)) first += pieces_of(*product++);
      run_piece(kernels, *product, piece - first);
    }
  });
}

void pack_rows(WorkerPool& pool, const Kernels& kernels, const float* x, size_t x_stride,
               uint32_t count, uint32_t cols, float* packed) {
  const uint32_t tile = kernels.tile_tokens;
  const auto pack = [&](uint32_t begin, uint32_t end) {
    kernels.pack(x + begin * x_stride, x_stride, nullptr, end - begin, cols,
                 packed + static_cast<size_t>(begin) * cols);
  };
  pool.split(
      static_cast<uint32_t>(ceil_div(count, tile)), uint64_t{tile} * cols,
      [&](uint32_t begin, uint32_t end) { pack(begin * tile, std::min(end * tile, count)); });
}

uint64_t product_weight_bytes(const Product& product) {
  const MatrixView& w = *product.w;
  return matrix_bytes(w.dtype, w.rows, w.cols) * (product.up != nullptr ? 2 : 1);
}

}  // namespace switchyard
