#pragma once

// Where owner tables put what they know.

#include <cstddef>
#include <cstdint>

#include "experts/placement.h"
#include "runtime/base/ids.h"

namespace switchyard {

inline uint64_t mix_bits(uint64_t z) {
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return z ^ (z >> 31);
}

inline uint64_t hash_token(TokenId token) { return mix_bits(static_cast<uint64_t>(token) + 1); }

inline uint64_t hash_sets(size_t layer, RankSet latest, RankSet before) {
  return mix_bits(mix_bits(latest + (uint64_t{layer} + 1) * 0x9e3779b97f4a7c15) ^ before);
}

// What the latest set says beside a token's own guess, that `kind` describes.
inline uint64_t hash_both(size_t layer, RankSet latest, uint32_t kind) {
  return mix_bits(hash_sets(layer, latest, 0) + kind + 1);
}

// A guess's rank and about how confident it is; below kGuessKinds.
inline constexpr uint32_t kGuessKinds = 64 * 4;
inline uint32_t kind_of(uint32_t rank, float confidence) {
  const int sure = (confidence > 0.6F) + (confidence > 0.8F) + (confidence > 0.92F);
  return rank * 4 + static_cast<uint32_t>(sure);
}

// Kept of a hash beside the entry; 0 means a free one.
inline uint16_t check_of(uint64_t hash) {
  const auto check = static_cast<uint16_t>(hash >> 48);
  return check != 0 ? check : uint16_t{1};
}

}  // namespace switchyard
