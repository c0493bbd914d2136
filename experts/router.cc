#include "experts/router.h"

#include <algorithm>

#include "runtime/base/check.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {

void route_token(const Kernels& kernels, std::span<float> logits, bool renormalise,
                 std::span<RoutedExpert> chosen) {
  CHECK(!chosen.empty() && chosen.size() <= logits.size());
  // Chosen by logit, not by softmax: two logits that differ may round to one probability.
  size_t kept = 0;
  for (size_t expert = 0; expert < logits.size(); ++expert) {
    size_t place = kept;
    while (place > 0 && logits[expert] > chosen[place - 1].gate_weight) --place;
    if (place == chosen.size()) continue;
    if (kept < chosen.size()) ++kept;
    std::move_backward(chosen.begin() + static_cast<ptrdiff_t>(place),
                       chosen.begin() + static_cast<ptrdiff_t>(kept - 1),
                       chosen.begin() + static_cast<ptrdiff_t>(kept));
    chosen[place] = {static_cast<uint16_t>(expert), logits[expert]};
  }
  kernels.softmax(logits.data(), static_cast<uint32_t>(logits.size()));
  float sum = 0;
  for (RoutedExpert& routed : chosen) {
    routed.gate_weight = logits[routed.expert];
    sum += routed.gate_weight;
  }
  if (!renormalise) return;
  for (RoutedExpert& routed : chosen) routed.gate_weight /= sum;
}

}  // namespace switchyard
