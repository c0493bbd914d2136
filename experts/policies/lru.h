#pragma once

#include <vector>

#include "experts/policies/policy.h"

namespace switchyard {

// The expert used longest ago goes first; one that was never used counts from its admission.
class LruPolicy final : public EvictionPolicy {
 public:
  explicit LruPolicy(const PolicyShape& shape) : last_(shape.keys.size()) {}

  void use(uint32_t place) override { last_[place] = ++now_; }
  void admitted(uint32_t place) override {
    if (last_[place] == 0) last_[place] = ++now_;
  }
  double worth(uint32_t place) const override { return static_cast<double>(last_[place]); }

 private:
  std::vector<uint64_t> last_;  // [places]
  uint64_t now_ = 0;            // uses so far
};

}  // namespace switchyard
