#pragma once

#include <algorithm>

#include "experts/predictors/predictor.h"

namespace switchyard {

// As wrong as can be, for the law: asks the routers only to name the experts they would not choose.
class AdversarialPredictor final : public Predictor {
 public:
  explicit AdversarialPredictor(const PredictorShape& shape) : shape_(shape) {}

  std::vector<RouterQuery> queries() const override {
    return {RouterQuery::kNextLayer, RouterQuery::kNextTwo};
  }
  void answer(RouterQuery, uint32_t layer, std::span<const RoutedExpert> answers,
              uint32_t width) override {
    layer_ = layer;
    width_ = width;
    answers_.assign(answers.begin(), answers.end());
  }
  uint32_t predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const override {
    if (layer != layer_) return 0;
    const auto likely = std::span(answers_).subspan(size_t{token} * width_, width_);
    uint32_t count = 0;
    for (uint16_t expert = 0; expert < shape_.experts && count < out.size(); ++expert) {
      const bool wanted = std::ranges::any_of(
          likely, [&](const RoutedExpert& routed) { return routed.expert == expert; });
      if (!wanted) out[count++] = expert;
    }
    return count;
  }

 private:
  PredictorShape shape_;
  uint32_t layer_ = UINT32_MAX;  // of the latest answer
  uint32_t width_ = 0;
  std::vector<RoutedExpert> answers_;  // [tokens, width_]
};

}  // namespace switchyard
