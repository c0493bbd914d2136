#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "runtime/base/ids.h"

namespace switchyard {

struct Merge {
  TokenId left = 0;
  TokenId right = 0;
  TokenId merged = 0;
};

// Which pairs of neighbouring tokens become one, and in which order: a pair's rank is the number of
// merges added before it. Filled by one thread, then immutable.
class MergeTable {
 public:
  static constexpr uint32_t kNone = UINT32_MAX;

  // A pair that comes again takes its last rank. At most 2^31 merges.
  void add(const Merge& merge);
  void shrink_to_fit() { merges_.shrink_to_fit(); }

  // kNone when the pair does not merge.
  uint32_t rank(TokenId left, TokenId right) const;
  TokenId merged(uint32_t rank) const { return merges_[rank].merged; }
  const std::vector<Merge>& merges() const { return merges_; }

 private:
  size_t slot_of(TokenId left, TokenId right) const;
  void grow(size_t slots);

  std::vector<Merge> merges_;    // [rank]
  std::vector<uint32_t> slots_;  // ranks or kNone; a power of two, at most half full
  int shift_ = 64;               // 64 − log2(slots)
};

}  // namespace switchyard
