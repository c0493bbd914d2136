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
  // `memory` is [slots, slot_bytes]; `keys` are the experts there are, `policy` was made for them.
  SlotPool(std::span<std::byte> memory, uint64_t slot_bytes, const std::vector<ExpertKey>& keys,
           std::unique_ptr<EvictionPolicy> policy);
  ~SlotPool();  // no lease may be alive

  uint32_t size() const { return static_cast<uint32_t>(slots_.size()); }  // lent ones too
  uint32_t lent() const { return lent_; }
  std::span<std::byte> memory(SlotIndex slot) const;
  ExpertKey key(SlotIndex slot) const { return slots_[slot.value].key; }
  Residency residency(SlotIndex slot) const { return slots_[slot.value].residency; }
  // Where an expert is, or is being loaded to.
  std::optional<SlotIndex> locate(ExpertKey key) const;
  // Resident experts only.
  std::optional<SlotIndex> find(ExpertKey key) const;
  // One of the experts that the pool was made for.
  bool knows(ExpertKey key) const { return index_.find(key) != KeyIndex::kNone; }
  uint32_t absent() const { return static_cast<uint32_t>(absent_.size()); }

  // A layer's work begins; what was expected of it is settled.
  void begin_layer(uint16_t layer);
  // A step begins, of which this is foreseen, and nothing else. Keys that the pool does not know
  // are passed over.
  void foresee(std::span<const ForeseenUse> uses);
  // The router chose `key`, resident or not.
  void use(ExpertKey key);
  // A prediction wants `key` when its layer comes next: until then it is evicted only for want of
  // anything else.
  void expect(ExpertKey key);

  // What is loading to this slot is for this once: it goes before all others, unless it is used
  // again.
  void set_transient(SlotIndex slot) { slots_[slot.value].transient = true; }
  uint32_t transient() const;

  enum class Victims : uint8_t { kAny, kUnexpected, kTransient };
  // Marks a slot as loading `key`: an absent one, else that of a transient expert, else of the one
  // worth least, else of an expected one, as far as `victims` allows. Nothing when there is no such
  // slot: the others are leased, loading or spared.
  std::optional<SlotIndex> take(ExpertKey key, Victims victims = Victims::kAny);
  // Whose slot take() would choose if none were absent.
  std::optional<SlotIndex> victim(Victims victims) const;
  void loaded(SlotIndex slot);       // the expert is in it, whole
  void load_failed(SlotIndex slot);  // nothing writes there any more
  void evict(SlotIndex slot);        // a resident one without leases
  // Nobody waits for what is being loaded there: the expert counts as absent and may be loaded
  // elsewhere, while the slot is in use until load_failed().
  void disown(SlotIndex slot);

  // Takes a slot, as take() does, for something that is no expert, until give_back().
  std::optional<SlotIndex> lend();
  void give_back(SlotIndex slot);

  // A resident expert is leased until unlease().
  void lease(SlotIndex slot);
  void unlease(SlotIndex slot);

 private:
  struct Slot {
    ExpertKey key;
    uint32_t place = 0;
    uint32_t leases = 0;
    bool transient = false;
    Residency residency = Residency::kAbsent;
  };
  void mark(SlotIndex slot, Residency to);
  std::optional<SlotIndex> take_empty(Victims victims);

  std::span<std::byte> memory_;
  uint64_t slot_bytes_;
  std::unique_ptr<EvictionPolicy> policy_;
  KeyIndex index_;
  std::vector<uint32_t> slot_of_;        // [places] resident or loading; KeyIndex::kNone: absent
  std::vector<bool> expected_;           // [places]
  std::vector<ExpertKey> expectations_;  // those that are expected
  EvictionPolicy::Forecast forecast_;
  std::vector<Slot> slots_;
  std::vector<uint32_t> absent_;  // slots, the next one to use last
  uint32_t lent_ = 0;
};

}  // namespace switchyard
