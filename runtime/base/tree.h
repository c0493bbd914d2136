#pragma once

// The canonical binary tree over leaves [0, n): a range [a, b) splits at a plus the largest power
// of two below b − a. Sums over experts and over attention heads are associated by it and by
// nothing else.

#include <bit>
#include <cstdint>

#include "runtime/base/check.h"

namespace switchyard {

// Where [begin, end) splits. Needs at least two leaves.
constexpr uint32_t tree_split(uint32_t begin, uint32_t end) {
  return begin + std::bit_floor(end - begin - 1);
}

// The tree sum over the leaves [first, last) of a sorted list of active leaf numbers, all within
// [begin, end). `leaf(i)` gives the value of the i-th listed leaf, `join(a, b)` adds two values. A
// side without active leaves contributes nothing.
template <class Leaf, class Join>
auto tree_sum(const uint32_t* active, uint32_t first, uint32_t last, uint32_t begin, uint32_t end,
              const Leaf& leaf, const Join& join) -> decltype(leaf(0)) {
  CHECK(first < last);
  while (last - first > 1) {
    const uint32_t split = tree_split(begin, end);
    uint32_t middle = first;
    while (middle < last && active[middle] < split) ++middle;
    if (middle == last) {
      end = split;
    } else if (middle == first) {
      begin = split;
    } else {
      return join(tree_sum(active, first, middle, begin, split, leaf, join),
                  tree_sum(active, middle, last, split, end, leaf, join));
    }
  }
  return leaf(first);
}

}  // namespace switchyard
