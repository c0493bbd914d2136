#include "experts/expert_layout.h"

#include <algorithm>

#include "runtime/base/align.h"

namespace switchyard {

size_t ExpertLayout::slot_bytes() const { return round_up(bytes(), kPageBytes); }

uint32_t ExpertLayout::slices_max() const {
  return static_cast<uint32_t>(ceil_div(std::min(hidden, intermediate), kLanes));
}

ExpertView ExpertLayout::view(const std::byte* slot) const {
  return {.gate = {slot, dtype, inner_rows().rows(), hidden},
          .up = {slot + gate_bytes(), dtype, inner_rows().rows(), hidden},
          .down = {slot + 2 * gate_bytes(), dtype, outer_rows().rows(), intermediate}};
}

}  // namespace switchyard
