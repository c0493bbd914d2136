#include "experts/predictors/router_predictor.h"

#include <algorithm>
#include <utility>

namespace switchyard {

RouterPredictor::RouterPredictor(std::vector<RouterQuery> queries, const PredictorShape& shape)
    : queries_(std::move(queries)), answers_(shape.layers) {}

void RouterPredictor::begin_step(std::span<const TokenId>, std::span<const uint32_t>) {
  for (Answer& answer : answers_) answer.width = 0;
}

void RouterPredictor::answer(RouterQuery query, uint32_t layer,
                             std::span<const RoutedExpert> answers, uint32_t width) {
  if (std::ranges::find(queries_, query) == queries_.end()) return;
  answers_[layer].experts.assign(answers.begin(), answers.end());
  answers_[layer].width = width;
}

uint32_t RouterPredictor::predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const {
  const Answer& answer = answers_[layer];
  const auto count = static_cast<uint32_t>(std::min<size_t>(out.size(), answer.width));
  for (uint32_t i = 0; i < count; ++i) {
    out[i] = answer.experts[size_t{token} * answer.width + i].expert;
  }
  return count;
}

}  // namespace switchyard
