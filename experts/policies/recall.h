#pragma once

#include <vector>

#include "experts/policies/frequency.h"
#include "experts/policies/policy.h"
#include "experts/policies/token_clock.h"

namespace switchyard {

// Multi-scale frequencies, and what earlier tokens with a like route needed: the route so far, the
// nearest layers first, is compared with those of the last tokens; what the alike took in layers
// still to come, and what their successors took in layers behind, is worth more. Remembers kTokens
// routes: kTokens · layers · top-k · 4 bytes.
class RecallPolicy final : public EvictionPolicy {
 public:
  explicit RecallPolicy(const PolicyShape& shape);

  void begin_layer(uint16_t layer) override;
  void use(uint32_t place, float gate_weight) override;
  double worth(uint32_t place) const override;

 private:
  static constexpr uint32_t kTokens = 128;
  struct Route {
    uint32_t token = 0;                        // 0: none
    std::vector<std::vector<uint32_t>> taken;  // [layers] places
    double likeness = 0;                       // to the route of the step under way
  };
  Route& route(uint32_t token) { return routes_[token % kTokens]; }
  const Route& route(uint32_t token) const { return routes_[token % kTokens]; }
  void end_layer();
  void begin_token();
  void refresh() const;

  std::vector<ExpertKey> keys_;
  uint32_t layers_ = 1;
  TokenClock clock_;
  DecayedFrequency frequency_;
  std::vector<Route> routes_;            // a ring
  std::vector<bool> taken_;              // [places] by the layer at work
  double likeness_max_ = 0;              // of a route equal in all layers so far
  mutable std::vector<float> recalled_;  // [places]
  mutable bool stale_ = true;            // recalled_ is
};

}  // namespace switchyard
