#include "runtime/engine/products.h"

#include <algorithm>
#include <atomic>

#include "runtime/base/align.h"
#include "runtime/device/worker_pool.h"

namespace switchyard {
namespace {

constexpr uint32_t kUnitBlocks = 2;         // blocks of 16 rows: what threads end apart by at most
constexpr uint64_t kMultipliesMin = 32768;  // fewer are done before another thread is awake

uint32_t units_of(const Product& product) {
  return static_cast<uint32_t>(ceil_div(product.w->blocks(), kUnitBlocks));
}

// Units [begin, end) of one product.
void run_units(const Kernels& kernels, const Product& product, uint32_t begin, uint32_t end) {
  begin *= kUnitBlocks;
  end = std::min(end * kUnitBlocks, product.w->blocks());
  if (product.up != nullptr) {
    kernels.gated_matmul(*product.w, *product.up, product.packed, product.tokens, product.y,
                         product.y_stride, begin, end);
    return;
  }
  const uint32_t segment = product.segment == 0 ? product.w->cols : product.segment;
  kernels.matmul(*product.w, product.packed, product.tokens, segment, product.y, product.y_stride,
                 begin, end);
}

// Units [begin, end) of all products laid end to end.
void run_range(const Kernels& kernels, std::span<const Product> products, uint32_t begin,
               uint32_t end) {
  for (const Product& product : products) {
    const uint32_t units = units_of(product);
    if (begin < units) run_units(kernels, product, begin, std::min(end, units));
    if (end <= units) return;
    begin -= std::min(begin, units);
    end -= units;
  }
}

// Hands out ranges of units, large ones first: weights stream long, and threads end together.
class UnitQueue {
 public:
  UnitQueue(uint32_t units, uint32_t threads) : units_(units), threads_(threads) {}

  bool take(uint32_t& begin, uint32_t& end) {
    begin = next_.load(std::memory_order_relaxed);
    do {
      if (begin == units_) return false;
      end = begin + std::max<uint32_t>(1, (units_ - begin) / (2 * threads_));
    } while (!next_.compare_exchange_weak(begin, end, std::memory_order_relaxed));
    return true;
  }

 private:
  const uint32_t units_, threads_;
  std::atomic<uint32_t> next_{0};
};

}  // namespace

void run_products(WorkerPool& pool, const Kernels& kernels, std::span<const Product> products) {
  uint32_t units = 0;
  uint64_t multiplies = 0;
  for (const Product& product : products) {
    units += units_of(product);
    multiplies += uint64_t{product.w->rows} * product.w->cols * product.tokens;
  }
  if (multiplies < kMultipliesMin) return run_range(kernels, products, 0, units);
  UnitQueue queue(units, pool.threads());
  pool.run([&](uint32_t thread) {
    for (uint32_t begin, end; queue.take(begin, end);) {
      run_range(kernels, products, begin, end);
      if (thread == 0) pool.between();
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
