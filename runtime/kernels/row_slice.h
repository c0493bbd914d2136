#pragma once

// Matrices cut by output rows into slices for several ranks: whole blocks of 16 rows, so that a
// slice of a kernel-ready matrix is one stretch of its bytes, and no sum is cut. Pure.

#include <algorithm>
#include <cstdint>

#include "runtime/kernels/matrix.h"

namespace switchyard {

struct RowSlice {
  uint32_t index = 0;
  uint32_t count = 1;  // of slices; 1: the whole

  bool operator==(const RowSlice&) const = default;
};

struct RowRange {
  uint32_t begin = 0, end = 0;

  uint32_t rows() const { return end - begin; }
};

// Which rows of a matrix of so many a slice has: about as many as the others, none where there are
// fewer blocks than slices.
constexpr RowRange rows_of(RowSlice slice, uint32_t rows) {
  const uint64_t blocks = (uint64_t{rows} + kLanes - 1) / kLanes;
  const auto border = [&](uint32_t index) {
    return static_cast<uint32_t>(std::min<uint64_t>(rows, blocks * index / slice.count * kLanes));
  };
  return {border(slice.index), border(slice.index + 1)};
}

}  // namespace switchyard
