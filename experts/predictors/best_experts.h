#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

namespace switchyard {

// The experts with the highest of `scores` [experts] above `floor`, at most out.size(), best first;
// of equals the lower id. Returns how many. A NaN is below any floor.
inline uint32_t best_experts(std::span<const float> scores, float floor, std::span<uint16_t> out) {
  uint32_t count = 0;
  for (size_t expert = 0; expert < scores.size(); ++expert) {
    const float score = scores[expert];
    const bool full = count == out.size();
    if (!(score > floor) || (full && (count == 0 || score <= scores[out[count - 1]]))) continue;
    uint32_t at = full ? count - 1 : count++;
    for (; at > 0 && scores[out[at - 1]] < score; --at) out[at] = out[at - 1];
    out[at] = static_cast<uint16_t>(expert);
  }
  return count;
}

}  // namespace switchyard
