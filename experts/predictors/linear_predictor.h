#pragma once

#include <array>
#include <memory>
#include <string>
#include <vector>

#include "experts/predictors/linear_map.h"
#include "experts/predictors/predictor.h"
#include "runtime/base/result.h"

namespace switchyard {

// Scores the next layers' experts by linear maps of this layer's gate weights that were fitted to a
// routing trace (linear_fit.h).
class LinearPredictor final : public Predictor {
 public:
  LinearPredictor(LinearMap map, const PredictorShape& shape);
  // Reads the map from a file; blocks. As read_linear_map().
  static Result<std::unique_ptr<Predictor>> open(const std::string& file,
                                                 const PredictorShape& shape);

  uint64_t bytes() const override;
  void begin_step(std::span<const TokenId> tokens, std::span<const uint32_t> requests) override;
  void observe(uint32_t layer, std::span<const RoutedExpert> routed) override;
  uint32_t predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const override;

 private:
  // The step's routes at one of the last layers.
  struct Seen {
    uint32_t layer = UINT32_MAX;
    std::vector<RoutedExpert> routed;  // [tokens, top_k]
  };

  const LinearMap map_;
  const uint32_t top_k_;
  std::array<Seen, kLinearDistances> seen_;  // layer l at l mod 2
  mutable std::vector<float> scores_;        // [experts] of one predict()
};

}  // namespace switchyard
