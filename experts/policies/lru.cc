#include "experts/policies/lru.h"

#include "runtime/base/check.h"

namespace switchyard {

LruPolicy::LruPolicy(uint32_t slots) : ends_(slots), links_(size_t{slots} + 1) {
  for (uint32_t i = 0; i <= slots; ++i) links_[i] = {i, i};
}

void LruPolicy::insert_newest(uint32_t slot) {
  const uint32_t older = links_[ends_].older;
  links_[slot] = {older, ends_};
  links_[older].newer = slot;
  links_[ends_].older = slot;
}

void LruPolicy::remove(uint32_t slot) {
  const Link link = links_[slot];
  links_[link.older].newer = link.newer;
  links_[link.newer].older = link.older;
  links_[slot] = {slot, slot};
}

void LruPolicy::admit(SlotIndex slot, ExpertKey) {
  CHECK(slot.value < ends_ && !listed(slot.value));
  insert_newest(slot.value);
}

void LruPolicy::touch(SlotIndex slot) {
  CHECK(slot.value < ends_ && listed(slot.value));
  remove(slot.value);
  insert_newest(slot.value);
}

SlotIndex LruPolicy::victim(std::span<const uint32_t> leases) const {
  CHECK(leases.size() == ends_);
  uint32_t slot = links_[ends_].newer;
  while (slot != ends_ && leases[slot] > 0) slot = links_[slot].newer;
  CHECK(slot != ends_);
  return {slot};
}

void LruPolicy::forget(SlotIndex slot) {
  CHECK(slot.value < ends_ && listed(slot.value));
  remove(slot.value);
}

}  // namespace switchyard
