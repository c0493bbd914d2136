#pragma once

#include <cstdint>

namespace switchyard {

// The true router's answer for one token of one layer: one of its experts.
struct RoutedExpert {
  uint16_t expert = 0;
  float gate_weight = 0;
};

}  // namespace switchyard
