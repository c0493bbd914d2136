#pragma once

#include <vector>

#include "experts/predictors/predictor.h"

namespace switchyard {

// The first layers' experts follow largely from the token itself: what they were when it came last.
class TokenPredictor final : public Predictor {
 public:
  explicit TokenPredictor(const PredictorShape& shape);

  uint64_t bytes() const override;
  void begin_step(std::span<const TokenId> tokens, std::span<const uint32_t> requests) override;
  void observe(uint32_t layer, std::span<const RoutedExpert> routed) override;
  uint32_t predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const override;

 private:
  static constexpr TokenId kFree = -1;

  // The token's place in the table: where it is, or the one of its set that was unused longest.
  size_t find(TokenId token) const;

  const PredictorShape shape_;
  const uint32_t layers_;  // the first, which are remembered
  uint64_t step_ = 0;
  std::vector<TokenId> tokens_;   // [entries]
  std::vector<uint64_t> used_;    // [entries] step of the latest use
  std::vector<uint8_t> known_;    // [entries] layers remembered
  std::vector<uint16_t> routes_;  // [entries, layers_, top_k]
  std::vector<TokenId> step_tokens_;
};

}  // namespace switchyard
