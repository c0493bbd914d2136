#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/base/dtype.h"
#include "runtime/kernels/matrix.h"
#include "runtime/kernels/row_slice.h"

namespace switchyard {

// One expert, or a slice of its rows, ready to compute: y = down · (silu(gate · x) ⊙ (up · x)).
struct ExpertView {
  MatrixView gate;  // [intermediate, hidden]
  MatrixView up;    // [intermediate, hidden]
  MatrixView down;  // [hidden, intermediate]
};

// Where the three kernel-ready matrices of an expert lie in its slot or extent. All experts of a
// model have one layout.
struct ExpertLayout {
  DType dtype = DType::kF32;
  uint32_t hidden = 0;
  uint32_t intermediate = 0;
  RowSlice slice = {};  // of each matrix

  RowRange inner_rows() const { return rows_of(slice, intermediate); }  // of gate and up
  RowRange outer_rows() const { return rows_of(slice, hidden); }        // of down
  uint32_t slices_max() const;  // into which an expert can be cut, none of them empty

  size_t gate_bytes() const { return matrix_bytes(dtype, inner_rows().rows(), hidden); }
  size_t down_bytes() const { return matrix_bytes(dtype, outer_rows().rows(), intermediate); }
  size_t bytes() const { return 2 * gate_bytes() + down_bytes(); }
  size_t slot_bytes() const;  // bytes() in whole pages

  ExpertView view(const std::byte* slot) const;
};

}  // namespace switchyard
