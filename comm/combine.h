#pragma once

#include <cstdint>
#include <span>

#include "comm/dispatch_plan.h"

namespace switchyard {

struct Kernels;

// One token's experts of one layer, sorted by their place in the expert order.
struct CombineToken {
  std::span<const uint32_t> places;   // ascending leaf numbers of the expert tree
  std::span<float* const> leaf_rows;  // [places] rows of `width`, each already gate weight × output
};

// Sums the leaves along the expert tree over [0, leaves); the rows serve as scratch. Returns the
// row that holds the sum. Needs at least one place.
float* combine_token(const Kernels& kernels, const CombineToken& token, uint32_t leaves,
                     uint32_t width);

// The same for partials, which are sums of leaves of one node each: `parts`, by PlannedPick::part,
// of a stretch of a token's picks; null where a part was merged into one before it. `place_of`:
// [experts] leaves.
float* combine_parts(const Kernels& kernels, std::span<const PlannedPick> picks,
                     std::span<float* const> parts, std::span<const uint16_t> place_of,
                     uint32_t width);

}  // namespace switchyard
