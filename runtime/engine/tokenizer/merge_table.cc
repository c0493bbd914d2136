#include "runtime/engine/tokenizer/merge_table.h"

#include <algorithm>
#include <bit>

namespace switchyard {

void MergeTable::add(const Merge& merge) {
  if (2 * (merges_.size() + 1) > slots_.size()) grow(std::max<size_t>(16, 2 * slots_.size()));
  const auto rank = static_cast<uint32_t>(merges_.size());
  merges_.push_back(merge);
  slots_[slot_of(merge.left, merge.right)] = rank;
}

uint32_t MergeTable::rank(TokenId left, TokenId right) const {
  return slots_.empty() ? kNone : slots_[slot_of(left, right)];
}

// Where the pair's rank is, or would go.
size_t MergeTable::slot_of(TokenId left, TokenId right) const {
  const uint64_t key =
      static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
  const uint64_t hash = (key ^ key >> 29) * 0x9e3779b97f4a7c15;
  const size_t mask = slots_.size() - 1;
  for (size_t at = hash >> shift_;; at = (at + 1) & mask) {
    if (slots_[at] == kNone) return at;
    const Merge& merge = merges_[slots_[at]];
    if (merge.left == left && merge.right == right) return at;
  }
}

void MergeTable::grow(size_t slots) {
  slots_.assign(slots, kNone);
  shift_ = 64 - std::countr_zero(slots);
  for (uint32_t rank = 0; rank < merges_.size(); ++rank) {
    slots_[slot_of(merges_[rank].left, merges_[rank].right)] = rank;
  }
}

}  // namespace switchyard
