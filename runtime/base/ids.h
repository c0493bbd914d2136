#pragma once

#include <compare>
#include <cstdint>
#include <limits>

namespace switchyard {

using TokenId = int32_t;

// One routed expert of one layer. `layer` counts all decoder layers of the model, dense ones too.
struct ExpertKey {
  uint16_t layer = 0;
  uint16_t expert = 0;
  auto operator<=>(const ExpertKey&) const = default;
};

// A place in the slot pool.
struct SlotIndex {
  uint32_t value = std::numeric_limits<uint32_t>::max();
  auto operator<=>(const SlotIndex&) const = default;
};

}  // namespace switchyard
