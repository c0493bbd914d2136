#include "experts/expert_layout.h"

#include "runtime/base/align.h"

namespace switchyard {

size_t ExpertLayout::slot_bytes() const { return round_up(bytes(), kPageBytes); }

ExpertView ExpertLayout::view(const std::byte* slot) const {
  return {.gate = {slot, dtype, intermediate, hidden},
          .up = {slot + gate_bytes(), dtype, intermediate, hidden},
          .down = {slot + 2 * gate_bytes(), dtype, hidden, intermediate}};
}

}  // namespace switchyard
