#pragma once

#include <vector>

#include "experts/policies/frequency.h"
#include "experts/policies/policy.h"
#include "experts/policies/token_clock.h"

namespace switchyard {

// What followed earlier tokens with a like route. When a layer's experts are known, the route so
// far is compared with those of the last kTokens tokens, the nearest layers counting most; the
// layer's experts are worth their frequency, what the alike tokens' successors took there, soon or
// later, and what came at once after the very experts just taken. Worth changes with a layer's own
// turn alone, but for what a forecast adds: it knows the token, and so its layers to come and the
// token after it (perf/README.md). Remembers kTokens · layers · top-k · 4 bytes, and a few numbers
// for each expert.
class RecallPolicy final : public EvictionPolicy {
 public:
  explicit RecallPolicy(const PolicyShape& shape);

  void begin_layer(uint16_t layer) override;
  void foresee(const Forecast& forecast) override;
  void use(uint32_t place) override;
  double worth(uint32_t place) const override;

 private:
  static constexpr uint32_t kTokens = 256;
  struct Layer {
    uint32_t first = 0, count = 0;              // its places
    std::vector<std::vector<uint32_t>> routes;  // [kTokens] places taken; a ring
  };
  static uint32_t slot(uint32_t token) { return token % kTokens; }
  const std::vector<uint32_t>& route(uint32_t token) const {
    return layers_[clock_.layer].routes[slot(token)];
  }
  uint32_t oldest() const { return clock_.token > kTokens ? clock_.token - kTokens + 1 : 1; }

  void begin_token();
  void end_layer();
  void settle() const;
  void compare() const;
  void recall() const;

  std::vector<ExpertKey> keys_;
  std::vector<Layer> layers_;
  std::vector<double> trust_;  // by likeness: how much such a token counts
  TokenClock clock_;
  DecayedFrequency frequency_;
  Forecast forecast_;             // empty: there was none
  bool step_begun_ = false;       // a layer of the step has begun
  std::vector<bool> taken_;       // [places] by the layer at work
  std::vector<uint32_t> uses_;    // [places] in the routes remembered, without the layer at work
  std::vector<double> likeness_;  // [kTokens] to the route before the layer at work
  double likeness_max_ = 0;       // of an equal route
  // Of the layer at work, as far as its experts are known.
  mutable bool settled_ = true;
  mutable std::vector<double> alike_;  // [kTokens] likeness with this layer
  mutable std::vector<double> links_;  // [kTokens] by way of the same experts taken here
  mutable std::vector<double> score_;  // [places] as of its layer's last turn
};

}  // namespace switchyard
