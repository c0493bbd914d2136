#pragma once

#include <cstdint>
#include <span>

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

}  // namespace switchyard
