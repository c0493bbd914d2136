#include "experts/slot_pool.h"

#include <algorithm>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

// In the order in which they go.
enum class Rank : uint8_t { kTransient, kKept, kExpected };

Rank last_rank(SlotPool::Victims victims) {
  switch (victims) {
    case SlotPool::Victims::kTransient:
      return Rank::kTransient;
    case SlotPool::Victims::kUnexpected:
      return Rank::kKept;
    case SlotPool::Victims::kAny:
      return Rank::kExpected;
  }
  return Rank::kExpected;
}

}  // namespace

SlotPool::SlotPool(std::span<std::byte> memory, uint64_t slot_bytes,
                   const std::vector<ExpertKey>& keys, std::unique_ptr<EvictionPolicy> policy)
    : memory_(memory),
      slot_bytes_(slot_bytes),
      policy_(std::move(policy)),
      index_(keys),
      slot_of_(keys.size(), KeyIndex::kNone),
      expected_(keys.size()),
      slots_(memory.size() / slot_bytes) {
  CHECK(!slots_.empty());
  for (uint32_t i = size(); i-- > 0;) absent_.push_back(i);
}

SlotPool::~SlotPool() {
  CHECK(
      std::all_of(slots_.begin(), slots_.end(), [](const Slot& slot) { return slot.leases == 0; }));
}

std::span<std::byte> SlotPool::memory(SlotIndex slot) const {
  CHECK_THAT(slot.value < slots_.size(), "slot {} of {}", slot.value, slots_.size());
  return memory_.subspan(slot.value * slot_bytes_, slot_bytes_);
}

std::optional<SlotIndex> SlotPool::locate(ExpertKey key) const {
  const uint32_t slot = slot_of_[index_.at(key)];
  if (slot == KeyIndex::kNone) return std::nullopt;
  return SlotIndex{slot};
}

std::optional<SlotIndex> SlotPool::find(ExpertKey key) const {
  const auto slot = locate(key);
  return slot && residency(*slot) == Residency::kResident ? slot : std::nullopt;
}

void SlotPool::begin_layer(uint16_t layer) {
  policy_->begin_layer(layer);
  std::erase_if(expectations_, [&](ExpertKey key) {
    if (key.layer != layer) return false;
    expected_[index_.at(key)] = false;
    return true;
  });
}

void SlotPool::foresee(std::span<const ForeseenUse> uses) {
  forecast_.now.assign(expected_.size(), 0);
  forecast_.later.assign(expected_.size(), 0);
  for (const ForeseenUse& use : uses) {
    const uint32_t place = index_.find(use.key);
    if (place == KeyIndex::kNone) continue;
    forecast_.now[place] = use.now;
    forecast_.later[place] = use.later;
  }
  policy_->foresee(forecast_);
}

void SlotPool::use(ExpertKey key) {
  policy_->use(index_.at(key));
  if (const auto slot = locate(key)) slots_[slot->value].transient = false;
}

void SlotPool::expect(ExpertKey key) {
  const uint32_t place = index_.at(key);
  if (expected_[place]) return;
  expected_[place] = true;
  expectations_.push_back(key);
}

void SlotPool::mark(SlotIndex slot, Residency to) {
  CHECK_THAT(slot.value < slots_.size(), "slot {} of {}", slot.value, slots_.size());
  Residency& residency = slots_[slot.value].residency;
  CHECK_THAT(may_become(residency, to), "slot {}: {} to {}", slot.value,
             static_cast<int>(residency), static_cast<int>(to));
  residency = to;
}

std::optional<SlotIndex> SlotPool::victim(Victims victims) const {
  std::optional<SlotIndex> best;
  std::pair<Rank, double> least;
  for (uint32_t i = 0; i < size(); ++i) {
    const Slot& slot = slots_[i];
    if (slot.residency != Residency::kResident || slot.leases > 0) continue;
    const Rank rank = slot.transient          ? Rank::kTransient
                      : expected_[slot.place] ? Rank::kExpected
                                              : Rank::kKept;
    if (rank > last_rank(victims)) continue;
    const std::pair<Rank, double> worth{rank,
                                        rank == Rank::kTransient ? 0 : policy_->worth(slot.place)};
    if (best && worth >= least) continue;
    best = SlotIndex{i};
    least = worth;
  }
  return best;
}

void SlotPool::evict(SlotIndex slot) {
  CHECK(slots_[slot.value].leases == 0);
  const uint32_t place = slots_[slot.value].place;
  mark(slot, Residency::kDraining);
  slot_of_[place] = KeyIndex::kNone;
  policy_->evicted(place);
  mark(slot, Residency::kAbsent);
  absent_.push_back(slot.value);
}

// An absent slot, no longer listed as one.
std::optional<SlotIndex> SlotPool::take_empty(Victims victims) {
  if (absent_.empty()) {
    const auto going = victim(victims);
    if (!going) return std::nullopt;
    evict(*going);
  }
  const SlotIndex slot{absent_.back()};
  absent_.pop_back();
  return slot;
}

std::optional<SlotIndex> SlotPool::take(ExpertKey key, Victims victims) {
  CHECK(!locate(key));
  const auto slot = take_empty(victims);
  if (!slot) return std::nullopt;
  mark(*slot, Residency::kLoading);
  slots_[slot->value].key = key;
  slots_[slot->value].place = index_.at(key);
  slots_[slot->value].transient = false;
  slot_of_[slots_[slot->value].place] = slot->value;
  return slot;
}

std::optional<SlotIndex> SlotPool::lend() {
  const auto slot = take_empty(Victims::kAny);
  if (!slot) return std::nullopt;
  mark(*slot, Residency::kLent);
  slots_[slot->value].transient = false;
  lent_ += 1;
  return slot;
}

void SlotPool::give_back(SlotIndex slot) {
  CHECK(residency(slot) == Residency::kLent);
  mark(slot, Residency::kAbsent);
  absent_.push_back(slot.value);
  lent_ -= 1;
}

void SlotPool::loaded(SlotIndex slot) {
  CHECK(slots_[slot.value].place != KeyIndex::kNone);
  mark(slot, Residency::kResident);
  policy_->admitted(slots_[slot.value].place);
}

void SlotPool::disown(SlotIndex slot) {
  CHECK(residency(slot) == Residency::kLoading && slots_[slot.value].place != KeyIndex::kNone);
  slot_of_[slots_[slot.value].place] = KeyIndex::kNone;
  slots_[slot.value].place = KeyIndex::kNone;
}

void SlotPool::load_failed(SlotIndex slot) {
  mark(slot, Residency::kAbsent);
  const uint32_t place = slots_[slot.value].place;
  if (place != KeyIndex::kNone) slot_of_[place] = KeyIndex::kNone;
  absent_.push_back(slot.value);
}

uint32_t SlotPool::transient() const {
  return static_cast<uint32_t>(std::ranges::count_if(slots_, [](const Slot& slot) {
    return slot.transient && slot.residency != Residency::kAbsent;
  }));
}

void SlotPool::lease(SlotIndex slot) {
  CHECK(residency(slot) == Residency::kResident);
  slots_[slot.value].leases += 1;
}

void SlotPool::unlease(SlotIndex slot) {
  CHECK(residency(slot) == Residency::kResident);
  CHECK(slots_[slot.value].leases > 0);
  slots_[slot.value].leases -= 1;
}

}  // namespace switchyard
