#pragma once

#include <array>
#include <vector>

#include "experts/predictors/predictor.h"

namespace switchyard {

// How often each expert of a layer was followed by each of the next two layers' experts, over all
// tokens seen; where that is little, how often each was used lately.
class TransitionPredictor final : public Predictor {
 public:
  explicit TransitionPredictor(const PredictorShape& shape);

  uint64_t bytes() const override;
  void begin_step(std::span<const TokenId> tokens, std::span<const uint32_t> requests) override;
  void observe(uint32_t layer, std::span<const RoutedExpert> routed) override;
  uint32_t predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const override;

 private:
  static constexpr uint32_t kDistances = 2;  // where the tables are small enough, else 1

  // The step's routes at one of the last layers.
  struct Seen {
    uint32_t layer = UINT32_MAX;
    std::vector<uint16_t> experts;  // [tokens, width]
  };
  size_t row_of(uint32_t distance, uint32_t layer, uint16_t expert) const;
  const Seen* seen(uint32_t layer) const;
  void learn(uint32_t distance, uint32_t layer, std::span<const uint16_t> from,
             std::span<const RoutedExpert> to);
  void add_evidence(uint32_t distance, uint32_t layer, uint32_t token) const;

  const PredictorShape shape_;
  const uint32_t distances_;
  size_t tokens_ = 0;                  // of the step
  std::vector<float> usual_;           // [layers, experts] share of the last tokens that used it
  std::vector<uint16_t> counts_;       // [distances, layers, experts, experts]
  std::vector<uint16_t> totals_;       // [distances, layers, experts] tokens counted in a row
  std::array<Seen, kDistances> seen_;  // layer l at l mod 2
  mutable std::vector<float> scores_;  // [experts] of one predict()
};

}  // namespace switchyard
