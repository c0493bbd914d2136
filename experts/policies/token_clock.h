#pragma once

#include <cstdint>
#include <vector>

#include "runtime/base/exact_math.h"

namespace switchyard {

// Tokens (steps) and layers as a policy sees them go by.
struct TokenClock {
  uint32_t token = 0;  // the step under way, from 1
  uint16_t layer = 0;  // whose work goes on

  void begin_layer(uint16_t next) {
    if (token == 0 || next <= layer) ++token;
    layer = next;
  }
  // Layers until `other`'s turn comes next, of a model whose last one is `layers` − 1.
  uint32_t layers_until(uint16_t other, uint32_t layers) const {
    return ahead(other) ? other - layer : layers - layer + other;
  }
  // Whether `other`'s turn is still to come in this step.
  bool ahead(uint16_t other) const { return other > layer; }
};

// e^(−age / scale) of whole ages; 0 past what matters.
class Decay {
 public:
  explicit Decay(double scale) {
    for (uint32_t age = 0; age < 16 * scale + 1; ++age)
      table_.push_back(exact_exp(-static_cast<double>(age) / scale));
  }
  double operator()(uint32_t age) const { return age < table_.size() ? table_[age] : 0; }

 private:
  std::vector<double> table_;
};

}  // namespace switchyard
