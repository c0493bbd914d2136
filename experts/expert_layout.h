#pragma once

#include <cstddef>
#include <cstdint>

#include "runtime/base/dtype.h"
#include "runtime/kernels/matrix.h"

namespace switchyard {

// One expert ready to compute: y = down · (silu(gate · x) ⊙ (up · x)).
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

  size_t gate_bytes() const { return matrix_bytes(dtype, intermediate, hidden); }
  size_t down_bytes() const { return matrix_bytes(dtype, hidden, intermediate); }
  size_t bytes() const { return 2 * gate_bytes() + down_bytes(); }
  size_t slot_bytes() const;  // bytes() in whole pages

  ExpertView view(const std::byte* slot) const;
};

}  // namespace switchyard
