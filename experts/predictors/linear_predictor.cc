#include "experts/predictors/linear_predictor.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "experts/predictors/best_experts.h"

namespace switchyard {

LinearPredictor::LinearPredictor(LinearMap map, const PredictorShape& shape)
    : map_(std::move(map)), top_k_(shape.top_k), scores_(shape.experts) {}

Result<std::unique_ptr<Predictor>> LinearPredictor::open(const std::string& file,
                                                         const PredictorShape& shape) {
  if (file.empty()) {
    return fail(Code::kUsage, "the predictor 'linear' reads a file", {},
                "give linear:FILE; switchyard fit-predictor makes one");
  }
  LinearMap map = TRY(read_linear_map(file, shape));
  return std::make_unique<LinearPredictor>(std::move(map), shape);
}

uint64_t LinearPredictor::bytes() const { return map_.bytes() + scores_.size() * sizeof(float); }

void LinearPredictor::begin_step(std::span<const TokenId>, std::span<const uint32_t>) {
  for (Seen& seen : seen_) seen.layer = UINT32_MAX;
}

void LinearPredictor::observe(uint32_t layer, std::span<const RoutedExpert> routed) {
  Seen& seen = seen_[layer % kLinearDistances];
  seen.layer = layer;
  seen.routed.assign(routed.begin(), routed.end());
}

uint32_t LinearPredictor::predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const {
  std::ranges::fill(scores_, 0.0F);
  for (uint32_t distance = 1; distance <= std::min(layer, kLinearDistances); ++distance) {
    const Seen& seen = seen_[(layer - distance) % kLinearDistances];
    if (seen.layer != layer - distance) continue;
    map_.add_scores(distance, layer, std::span(seen.routed).subspan(size_t{token} * top_k_, top_k_),
                    scores_);
    return best_experts(scores_, std::numeric_limits<float>::lowest(), out);
  }
  return 0;
}

}  // namespace switchyard
