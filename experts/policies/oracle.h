#pragma once

#include <limits>
#include <vector>

#include "experts/policies/policy.h"

namespace switchyard {

// Belady's optimum: what is used again last goes first. Knows the future, so offline only; it must
// see the same layers begin as FutureUses was made from.
class OraclePolicy final : public EvictionPolicy {
 public:
  explicit OraclePolicy(const PolicyShape& shape)
      : future_(*shape.future), next_(shape.keys.size()) {}

  void begin_layer(uint16_t) override { ++now_; }
  void use(uint32_t place) override {
    const std::vector<uint32_t>& uses = future_.uses[place];
    uint32_t& next = next_[place];
    while (next < uses.size() && uses[next] + 1 <= now_) ++next;
  }
  double worth(uint32_t place) const override {
    const std::vector<uint32_t>& uses = future_.uses[place];
    return next_[place] < uses.size() ? -static_cast<double>(uses[next_[place]])
                                      : -std::numeric_limits<double>::infinity();
  }

 private:
  const FutureUses& future_;
  std::vector<uint32_t> next_;  // [places] the first of its uses that is still to come
  uint32_t now_ = 0;            // layers begun
};

}  // namespace switchyard
