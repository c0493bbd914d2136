#pragma once

#include <vector>

#include "experts/predictors/predictor.h"

namespace switchyard {

// Believes the routers that were asked before their turn; the latest answer of a layer counts.
class RouterPredictor final : public Predictor {
 public:
  RouterPredictor(std::vector<RouterQuery> queries, const PredictorShape& shape);

  std::vector<RouterQuery> queries() const override { return queries_; }
  void begin_step(std::span<const TokenId> tokens, std::span<const uint32_t> requests) override;
  void answer(RouterQuery query, uint32_t layer, std::span<const RoutedExpert> answers,
              uint32_t width) override;
  uint32_t predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const override;

 private:
  struct Answer {
    std::vector<RoutedExpert> experts;  // [tokens, width]
    uint32_t width = 0;
  };
  std::vector<RouterQuery> queries_;
  std::vector<Answer> answers_;  // [layers]
};

}  // namespace switchyard
