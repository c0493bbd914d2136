#pragma once

#include <cstdint>
#include <limits>
#include <vector>

#include "runtime/base/ids.h"

namespace switchyard {

// The place of each key in a list of distinct keys, in constant time. Immutable.
class KeyIndex {
 public:
  static constexpr uint32_t kNone = std::numeric_limits<uint32_t>::max();

  explicit KeyIndex(const std::vector<ExpertKey>& keys);

  uint32_t size() const { return size_; }
  // kNone for a key that is not in the list.
  uint32_t find(ExpertKey key) const;
  // A key that is not in the list is a bug.
  uint32_t at(ExpertKey key) const;

 private:
  uint32_t size_;
  uint32_t stride_ = 0;          // experts of a layer at most
  std::vector<uint32_t> table_;  // [layers, stride]
};

}  // namespace switchyard
