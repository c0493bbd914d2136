#pragma once

#include <vector>

#include "experts/policies/policy.h"

namespace switchyard {

// Evicts the expert used longest ago. A list of slots from the oldest use to the newest: every verb
// takes constant time, but for victim(), which steps over leased slots, and those are the newest.
class LruPolicy final : public EvictionPolicy {
 public:
  explicit LruPolicy(uint32_t slots);

  void begin_layer(uint16_t) override {}
  void admit(SlotIndex slot, ExpertKey key) override;
  void touch(SlotIndex slot) override;
  SlotIndex victim(std::span<const uint32_t> leases) const override;
  void forget(SlotIndex slot) override;

 private:
  struct Link {
    uint32_t older = 0;
    uint32_t newer = 0;
  };
  bool listed(uint32_t slot) const { return links_[slot].newer != slot; }
  void insert_newest(uint32_t slot);
  void remove(uint32_t slot);

  uint32_t ends_;            // the link that closes the ring: its newer is the oldest slot
  std::vector<Link> links_;  // [slots + 1]; a slot that is not listed links to itself
};

}  // namespace switchyard
