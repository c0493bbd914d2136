#pragma once

#include <cstdint>

#include "experts/router.h"
#include "runtime/base/result.h"
#include "runtime/device/slab.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {

// Rows of activations are padded to whole vectors.
constexpr size_t padded(size_t width) { return (width + 15) / 16 * 16; }

// The buffers of one step of at most `rows` tokens. Strides are padded widths.
struct Workspace {
  uint32_t rows = 0;
  uint32_t logits_rows = 0;

  float* x = nullptr;             // [rows][hidden] the residual stream
  float* normed = nullptr;        // [rows][hidden]
  float* update = nullptr;        // [rows][hidden] what a block adds to x
  float* packed = nullptr;        // [rows][widest input of a product]
  float* q = nullptr;             // [rows][q_width]
  float* k = nullptr;             // [rows][kv_width]
  float* v = nullptr;             // [rows][kv_width]
  float* attended = nullptr;      // [rows][q_width]
  float* cos = nullptr;           // [rows][head_dim / 2]
  float* sin = nullptr;           // [rows][head_dim / 2]
  float* inner = nullptr;         // [rows][dense or shared intermediate]
  float* shared = nullptr;        // [rows][hidden] a shared expert's output
  float* shared_score = nullptr;  // [rows][1]

  float* router_logits = nullptr;  // [rows][experts]
  RoutedExpert* routed = nullptr;  // [rows][top_k]
  uint32_t* bucket_row = nullptr;  // [rows · top_k] by bucket: which row of x
  uint32_t* bucket_at = nullptr;   // [rows][top_k] where a row's leaf lies
  float* expert_rows = nullptr;    // [rows · top_k][hidden] packed inputs, then leaves
  float* expert_inner = nullptr;   // [rows · top_k][intermediate]
  float* expert_packed = nullptr;  // [rows · top_k][intermediate]

  float* logits = nullptr;  // [logits_rows][vocab]

  static size_t bytes(const ModelSpec& spec, uint32_t rows, uint32_t logits_rows);
  static Result<Workspace> create(const ModelSpec& spec, uint32_t rows, uint32_t logits_rows);
  void touch() const { slab_.touch(); }

 private:
  size_t carve(std::byte* base, const ModelSpec& spec);
  Slab slab_;
};

}  // namespace switchyard
