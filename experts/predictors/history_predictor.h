#pragma once

#include <vector>

#include "experts/predictors/predictor.h"

namespace switchyard {

// Looks for the tokens of the request's past that were routed most like this one up to here, and
// lets their routes vote on what comes; before there is anything to compare, the latest tokens'.
class HistoryPredictor final : public Predictor {
 public:
  explicit HistoryPredictor(const PredictorShape& shape);

  uint64_t bytes() const override;
  void begin_step(std::span<const TokenId> tokens, std::span<const uint32_t> requests) override;
  void observe(uint32_t layer, std::span<const RoutedExpert> routed) override;
  uint32_t predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const override;

 private:
  static constexpr uint32_t kComparedMax = 16;  // tokens of a step; larger ones are only kept

  struct Request {
    uint32_t id = 0;
    uint64_t step = 0;    // its latest; 0: free
    uint64_t tokens = 0;  // begun; the newest capacity_ are kept
  };
  // Where a token of the step is kept.
  struct Place {
    uint32_t request = UINT32_MAX;  // which of requests_; UINT32_MAX: there was none left
    uint32_t at = 0;
  };
  Request* request_of(uint32_t id);
  Place begin_token(uint32_t id);
  std::span<uint16_t> routes(uint32_t request, uint32_t layer);
  std::span<const uint16_t> routes(uint32_t request, uint32_t layer) const;
  void compare(uint32_t layer, uint32_t token, std::span<const RoutedExpert> routed);

  const PredictorShape shape_;
  const uint32_t capacity_;  // tokens kept of a request
  uint64_t step_ = 0;
  std::vector<Request> requests_;
  std::vector<uint16_t> routes_;      // [requests, layers, capacity, top_k]
  std::vector<Place> places_;         // [tokens of the step]
  std::vector<float> likeness_;       // [kComparedMax, capacity]
  std::vector<float> lateness_;       // [capacity] by age
  std::vector<float> marks_;          // [experts] of one token's route
  mutable std::vector<float> votes_;  // [experts] of one predict()
};

}  // namespace switchyard
