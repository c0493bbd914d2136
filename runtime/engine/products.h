#pragma once

#include <cstdint>
#include <span>

#include "runtime/kernels/kernel_table.h"

namespace switchyard {

class WorkerPool;

// One product of packed rows with a matrix: y = w x, or y = silu(w x) ⊙ (up x).
struct Product {
  const MatrixView* w = nullptr;
  const MatrixView* up = nullptr;  // null: plain
  const float* packed = nullptr;   // as Kernels::pack lays them, w->cols wide
  uint32_t tokens = 0;
  uint32_t segment = 0;  // 0: w->cols
  float* y = nullptr;    // [tokens][y_stride]
  size_t y_stride = 0;
};

// Runs products that do not depend on each other on all threads, cut by output rows.
void run_products(WorkerPool& pool, const Kernels& kernels, std::span<const Product> products);

// Kernels::pack on all threads.
void pack_rows(WorkerPool& pool, const Kernels& kernels, const float* x, size_t x_stride,
               uint32_t count, uint32_t cols, float* packed);

uint64_t product_weight_bytes(const Product& product);

}  // namespace switchyard
