#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "experts/predictors/predictor.h"
#include "runtime/engine/compute.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/workspace.h"

namespace switchyard {

// Asks routers before their turn: the same kernels on a state that is not theirs yet. Nothing of it
// reaches a logit.
class RouterProbe {
 public:
  // For steps of at most `rows` tokens; memory is taken at once.
  RouterProbe(const ModelSpec& spec, const DenseWeights& weights, uint32_t rows);
  static uint64_t bytes(const ModelSpec& spec, uint32_t rows);

  uint32_t width() const { return width_; }
  // What the router of `layer` (of the model) says of these rows of workspace.x, best first: [rows,
  // width()], valid until the next call. `with_shared` adds workspace.shared [rows' places here] to
  // them before the norm.
  std::span<const RoutedExpert> ask(const Compute& compute, uint32_t layer, bool with_shared,
                                    std::span<const uint32_t> rows, const Workspace& workspace);

 private:
  const ModelSpec& spec_;
  const DenseWeights& weights_;
  const uint32_t width_;
  std::vector<float> normed_;  // [rows][padded hidden]
  std::vector<float> packed_;  // [rows][padded hidden]
  std::vector<float> logits_;  // [rows][padded experts]
  std::vector<RoutedExpert> answers_;
};

}  // namespace switchyard
