#include "experts/slot_pool.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {

SlotPool::SlotPool(std::span<std::byte> memory, uint64_t slot_bytes,
                   const std::vector<ExpertKey>& keys, std::unique_ptr<EvictionPolicy> policy)
    : memory_(memory),
      slot_bytes_(slot_bytes),
      policy_(std::move(policy)),
      index_(keys),
      slot_of_(keys.size(), KeyIndex::kNone),
      slots_(memory.size() / slot_bytes),
      leases_(slots_.size()) {
  CHECK(!slots_.empty());
  for (uint32_t i = size(); i-- > 0;) absent_.push_back(i);
}

SlotPool::~SlotPool() {
  CHECK(std::all_of(leases_.begin(), leases_.end(), [](uint32_t leases) { return leases == 0; }));
}

std::span<std::byte> SlotPool::memory(SlotIndex slot) const {
  CHECK_THAT(slot.value < slots_.size(), "slot {} of {}", slot.value, slots_.size());
  return memory_.subspan(slot.value * slot_bytes_, slot_bytes_);
}

std::optional<SlotIndex> SlotPool::find(ExpertKey key) const {
  const uint32_t slot = slot_of_[index_.at(key)];
  if (slot == KeyIndex::kNone) return std::nullopt;
  return SlotIndex{slot};
}

void SlotPool::mark(SlotIndex slot, Residency to) {
  CHECK_THAT(slot.value < slots_.size(), "slot {} of {}", slot.value, slots_.size());
  Residency& residency = slots_[slot.value].residency;
  CHECK_THAT(may_become(residency, to), "slot {}: {} to {}", slot.value,
             static_cast<int>(residency), static_cast<int>(to));
  residency = to;
}

void SlotPool::evict(SlotIndex slot) {
  CHECK(leases_[slot.value] == 0);
  mark(slot, Residency::kDraining);
  policy_->forget(slot);
  slot_of_[index_.at(slots_[slot.value].key)] = KeyIndex::kNone;
  evictable_ -= 1;
  mark(slot, Residency::kAbsent);
  absent_.push_back(slot.value);
}

std::optional<SlotIndex> SlotPool::take(ExpertKey key) {
  CHECK(!find(key));
  if (absent_.empty()) {
    if (evictable_ == 0) return std::nullopt;
    evict(policy_->victim(leases_));
  }
  const SlotIndex slot{absent_.back()};
  absent_.pop_back();
  mark(slot, Residency::kLoading);
  slots_[slot.value].key = key;
  return slot;
}

void SlotPool::loaded(SlotIndex slot) {
  mark(slot, Residency::kResident);
  const ExpertKey key = slots_[slot.value].key;
  CHECK(!find(key));
  slot_of_[index_.at(key)] = slot.value;
  evictable_ += 1;
  policy_->admit(slot, key);
}

void SlotPool::load_failed(SlotIndex slot) {
  mark(slot, Residency::kAbsent);
  absent_.push_back(slot.value);
}

void SlotPool::lease(SlotIndex slot) {
  CHECK(residency(slot) == Residency::kResident);
  if (leases_[slot.value] == 0) evictable_ -= 1;
  leases_[slot.value] += 1;
}

void SlotPool::lease_again(SlotIndex slot) {
  lease(slot);
  policy_->touch(slot);
}

void SlotPool::unlease(SlotIndex slot) {
  CHECK(residency(slot) == Residency::kResident);
  CHECK(leases_[slot.value] > 0);
  leases_[slot.value] -= 1;
  if (leases_[slot.value] == 0) evictable_ += 1;
}

}  // namespace switchyard
