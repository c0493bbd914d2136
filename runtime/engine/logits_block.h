#pragma once

// From the last layer's rows to logits, here or on rank 0.

#include <cstdint>
#include <span>
#include <vector>

#include "comm/world.h"
#include "runtime/base/result.h"
#include "runtime/engine/compute.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/workspace.h"
#include "scheduler/step_plan.h"

namespace switchyard {

// A row of a step whose logits, or their greatest's id, somebody wants.
struct WantedRow {
  SequenceId sequence{};
  uint32_t position = 0;
  uint32_t home = 0;  // rank that has it, unless all have
  uint32_t row = 0;   // there
  bool best = false;
};

// Outputs [begin, end) of the vocabulary, whole blocks of a matrix.
struct VocabRange {
  uint32_t begin = 0;
  uint32_t end = 0;
};
VocabRange vocab_of(uint32_t rank, uint32_t ranks, uint32_t vocab);

// Logits of workspace.x[some.row] in `range`, into workspace.logits [some] from its column 0 on.
// kBadData when one is not finite. Adds the bytes of weights read to `weight_bytes`.
Status compute_logits(const Compute& compute, const ModelSpec& spec, const DenseWeights& weights,
                      std::span<const WantedRow> some, VocabRange range, Workspace& workspace,
                      uint64_t& weight_bytes);

// The greatest of a row, the first of equals.
struct BestLogit {
  float value = 0;
  TokenId token = 0;
};
BestLogit best_logit(std::span<const float> logits, uint32_t first_token);

}  // namespace switchyard
