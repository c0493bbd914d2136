#include "runtime/engine/router_probe.h"

#include <algorithm>

#include "experts/router.h"
#include "runtime/base/check.h"
#include "runtime/engine/products.h"

namespace switchyard {

RouterProbe::RouterProbe(const ModelSpec& spec, const DenseWeights& weights, uint32_t rows)
    : spec_(spec),
      weights_(weights),
      width_(std::min(spec.moe.experts, 2 * spec.moe.top_k)),
      normed_(rows * padded(spec.hidden)),
      packed_(rows * padded(spec.hidden)),
      logits_(rows * padded(spec.moe.experts)),
      answers_(size_t{rows} * width_) {}

uint64_t RouterProbe::bytes(const ModelSpec& spec, uint32_t rows) {
  return rows * ((2 * padded(spec.hidden) + padded(spec.moe.experts)) * sizeof(float) +
                 2 * spec.moe.top_k * sizeof(RoutedExpert));
}

std::span<const RoutedExpert> RouterProbe::ask(const Compute& compute, uint32_t layer,
                                               bool with_shared, std::span<const uint32_t> rows,
                                               const Workspace& workspace) {
  const Kernels& kernels = compute.kernels;
  const LayerWeights& of_layer = weights_.layers[layer];
  const size_t stride = padded(spec_.hidden), scores = padded(spec_.moe.experts);
  const auto count = static_cast<uint32_t>(rows.size());
  CHECK(count * stride <= normed_.size());
  if (count == 0) return {};
  for (uint32_t row = 0; row < count; ++row) {
    const float* state = workspace.x + rows[row] * stride;
    float* normed = normed_.data() + row * stride;
    if (with_shared) {
      kernels.add(state, workspace.shared + row * stride, spec_.hidden, normed);
      state = normed;
    }
    kernels.rms_norm(state, of_layer.post_norm.data(), spec_.hidden, spec_.hidden, spec_.norm_eps,
                     normed);
  }
  kernels.pack(normed_.data(), stride, nullptr, count, spec_.hidden, packed_.data());
  const Product product = {.w = &of_layer.router,
                           .packed = packed_.data(),
                           .tokens = count,
                           .y = logits_.data(),
                           .y_stride = scores};
  run_products(compute.pool, kernels, {&product, 1});
  for (uint32_t row = 0; row < count; ++row) {
    route_token(kernels, {logits_.data() + row * scores, spec_.moe.experts}, spec_.moe.renormalise,
                std::span(answers_).subspan(size_t{row} * width_, width_));
  }
  return std::span(answers_).first(size_t{count} * width_);
}

}  // namespace switchyard
