#pragma once

// The rows of the kernel table, each in the translation unit built for its instruction set. They
// are constants: code of those units runs only once `supported` has said yes, which is why the
// questions themselves are answered in kernel_table.cc.

#include "runtime/kernels/attention_body.h"
#include "runtime/kernels/bounds_body.h"
#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/matmul_body.h"
#include "runtime/kernels/row_ops_body.h"

namespace switchyard {

extern const Kernels kAvx512Kernels;
extern const Kernels kAvx2Kernels;
extern const Kernels kScalarKernels;

bool avx512_supported();
bool avx2_supported();
bool scalar_supported();

// The row of a vector type.
template <class V>
constexpr Kernels kernel_row(const char* name, bool (*supported)()) {
  namespace body = kernel_body;
  return {.name = name,
          .supported = supported,
          .tile_tokens = V::kTileTokens,
          .pack = body::pack<V>,
          .matmul = body::matmul<V>,
          .gated_matmul = body::gated_matmul<V>,
          .rms_norm = body::rms_norm<V>,
          .sum_of_squares = body::sum_of_squares<V>,
          .normalise = body::normalise<V>,
          .rope = body::rope<V>,
          .attend = body::attend<V>,
          .add = body::add<V>,
          .scale = body::scale<V>,
          .clip = body::clip<V>,
          .softmax = body::softmax<V>,
          .sigmoid = body::sigmoid_of<V>,
          .read_streams = body::read_streams<V>,
          .fma_rounds = body::fma_rounds<V>};
}

}  // namespace switchyard
