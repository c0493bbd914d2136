#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "experts/key_index.h"
#include "experts/policies/policy.h"
#include "experts/residency.h"
#include "runtime/base/ids.h"

namespace switchyard {

// Slots of one size and what each of them holds. A leased or loading slot never loses its expert.
// Does not own the memory. One thread; never blocks; verbs out of order are bugs.
class SlotPool {
 public:
  // `memory` is [slots, slot_bytes]; `keys` are the experts there are.
  SlotPool(std::span<std::byte> memory, uint64_t slot_bytes, const std::vector<ExpertKey>& keys,
           std::unique_ptr<EvictionPolicy> policy);
  ~SlotPool();  // no lease may be alive

  uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }
  std::span<std::byte> memory(SlotIndex slot) const;
  ExpertKey key(SlotIndex slot) const { return slots_[slot.value].key; }
  Residency residency(SlotIndex slot) const { return slots_[slot.value].residency; }
  // Resident experts only.
  std::optional<SlotIndex> find(ExpertKey key) const;
  uint32_t absent() const { return static_cast<uint32_t>(absent_.size()); }

  void begin_layer(uint16_t layer) { policy_->begin_layer(layer); }
  // Marks a slot as loading `key`: an absent one, else that of the policy's victim. Nothing when
  // every slot is leased or loading.
  std::optional<SlotIndex> take(ExpertKey key);
  void loaded(SlotIndex slot);       // the expert is in it, whole and verified
  void load_failed(SlotIndex slot);  // nothing writes there any more

  // A resident expert is used: leased until unlease().
  void lease(SlotIndex slot);
  void unlease(SlotIndex slot);
  // lease(), when the expert was resident before: the policy hears of it.
  void lease_again(SlotIndex slot);

 private:
  struct Slot {
    ExpertKey key;
    Residency residency = Residency::kAbsent;
  };
  void mark(SlotIndex slot, Residency to);
  void evict(SlotIndex slot);

  std::span<std::byte> memory_;
  uint64_t slot_bytes_;
  std::unique_ptr<EvictionPolicy> policy_;
  KeyIndex index_;
  std::vector<uint32_t> slot_of_;  // [keys]; KeyIndex::kNone: not resident
  std::vector<Slot> slots_;
  std::vector<uint32_t> leases_;  // [slots]
  std::vector<uint32_t> absent_;  // slots, the next one to use last
  uint32_t evictable_ = 0;        // resident and not leased
};

}  // namespace switchyard
