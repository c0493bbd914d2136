#include "experts/predictors/transition_predictor.h"

#include <algorithm>

#include "experts/predictors/best_experts.h"

namespace switchyard {
namespace {

constexpr uint64_t kTableBytesMax = uint64_t{64} << 20;
constexpr uint16_t kTotalMax = 1024;  // then a row is halved: what is old fades
constexpr float kNewerStep = 0.05F;   // weight of the latest token in what is usual
constexpr float kPrior = 0.25F;       // tokens that what is usual counts for

uint64_t table_bytes(const PredictorShape& shape, uint32_t distances) {
  return sizeof(uint16_t) * distances * shape.layers * shape.experts *
         (shape.experts + uint64_t{1});
}

uint32_t distances_for(const PredictorShape& shape, uint32_t most) {
  uint32_t distances = most;
  while (distances > 0 && table_bytes(shape, distances) > kTableBytesMax) --distances;
  return distances;
}

}  // namespace

TransitionPredictor::TransitionPredictor(const PredictorShape& shape)
    : shape_(shape),
      distances_(distances_for(shape, kDistances)),
      usual_(size_t{shape.layers} * shape.experts),
      counts_(size_t{distances_} * shape.layers * shape.experts * shape.experts),
      totals_(size_t{distances_} * shape.layers * shape.experts),
      scores_(shape.experts) {}

uint64_t TransitionPredictor::bytes() const {
  return table_bytes(shape_, distances_) + (usual_.size() + scores_.size()) * sizeof(float);
}

void TransitionPredictor::begin_step(std::span<const TokenId> tokens, std::span<const uint32_t>) {
  tokens_ = tokens.size();
  for (Seen& seen : seen_) seen.layer = UINT32_MAX;
}

size_t TransitionPredictor::row_of(uint32_t distance, uint32_t layer, uint16_t expert) const {
  return (size_t{distance - 1} * shape_.layers + layer) * shape_.experts + expert;
}

const TransitionPredictor::Seen* TransitionPredictor::seen(uint32_t layer) const {
  const Seen& seen = seen_[layer % kDistances];
  return seen.layer == layer ? &seen : nullptr;
}

void TransitionPredictor::learn(uint32_t distance, uint32_t layer, std::span<const uint16_t> from,
                                std::span<const RoutedExpert> to) {
  for (const uint16_t expert : from) {
    const size_t row = row_of(distance, layer, expert);
    const auto counts = std::span(counts_).subspan(row * shape_.experts, shape_.experts);
    if (totals_[row] == kTotalMax) {
      totals_[row] /= 2;
      for (uint16_t& count : counts) count /= 2;
    }
    totals_[row] += 1;
    for (const RoutedExpert& next : to) counts[next.expert] += 1;
  }
}

void TransitionPredictor::observe(uint32_t layer, std::span<const RoutedExpert> routed) {
  const size_t width = tokens_ > 0 ? routed.size() / tokens_ : 0;
  const auto usual = std::span(usual_).subspan(size_t{layer} * shape_.experts, shape_.experts);
  for (size_t token = 0; token < tokens_; ++token) {
    const auto to = routed.subspan(token * width, width);
    for (float& share : usual) share *= 1 - kNewerStep;
    for (const RoutedExpert& expert : to) usual[expert.expert] += kNewerStep;
    for (uint32_t distance = 1; distance <= std::min(distances_, layer); ++distance) {
      const Seen* before = seen(layer - distance);
      if (before == nullptr) continue;
      learn(distance, layer - distance, std::span(before->experts).subspan(token * width, width),
            to);
    }
  }
  Seen& now = seen_[layer % kDistances];
  now.layer = layer;
  now.experts.resize(routed.size());
  std::ranges::transform(routed, now.experts.begin(), &RoutedExpert::expert);
}

// The mean over the token's experts of `layer` of what follows them, each leaning on what is usual
// the more, the less it was seen.
void TransitionPredictor::add_evidence(uint32_t distance, uint32_t layer, uint32_t token) const {
  const Seen* before = seen(layer);
  if (before == nullptr || distance > distances_) return;
  const size_t width = before->experts.size() / tokens_;
  const auto usual =
      std::span(usual_).subspan(size_t{layer + distance} * shape_.experts, shape_.experts);
  for (const uint16_t expert : std::span(before->experts).subspan(token * width, width)) {
    const size_t row = row_of(distance, layer, expert);
    const auto counts = std::span(counts_).subspan(row * shape_.experts, shape_.experts);
    const float scale = 1 / (static_cast<float>(totals_[row]) + kPrior);
    for (size_t next = 0; next < scores_.size(); ++next) {
      scores_[next] += (static_cast<float>(counts[next]) + kPrior * usual[next]) * scale;
    }
  }
}

uint32_t TransitionPredictor::predict(uint32_t layer, uint32_t token,
                                      std::span<uint16_t> out) const {
  const auto usual = std::span(usual_).subspan(size_t{layer} * shape_.experts, shape_.experts);
  std::ranges::copy(usual, scores_.begin());
  for (uint32_t distance = 1; distance <= std::min(kDistances, layer); ++distance) {
    add_evidence(distance, layer - distance, token);
  }
  return best_experts(scores_, 0, out);
}

}  // namespace switchyard
