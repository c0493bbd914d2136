#include "experts/key_index.h"

#include <algorithm>

#include "runtime/base/check.h"

namespace switchyard {

KeyIndex::KeyIndex(const std::vector<ExpertKey>& keys) : size_(static_cast<uint32_t>(keys.size())) {
  uint32_t layers = 0;
  for (const ExpertKey key : keys) {
    layers = std::max(layers, key.layer + uint32_t{1});
    stride_ = std::max(stride_, key.expert + uint32_t{1});
  }
  table_.assign(size_t{layers} * stride_, kNone);
  for (uint32_t i = 0; i < size_; ++i) {
    uint32_t& place = table_[size_t{keys[i].layer} * stride_ + keys[i].expert];
    CHECK_THAT(place == kNone, "layer {}, expert {} twice", keys[i].layer, keys[i].expert);
    place = i;
  }
}

uint32_t KeyIndex::find(ExpertKey key) const {
  const size_t at = size_t{key.layer} * stride_ + key.expert;
  return key.expert < stride_ && at < table_.size() ? table_[at] : kNone;
}

uint32_t KeyIndex::at(ExpertKey key) const {
  const uint32_t place = find(key);
  CHECK_THAT(place != kNone, "no layer {}, expert {}", key.layer, key.expert);
  return place;
}

}  // namespace switchyard
