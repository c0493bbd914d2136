#pragma once

#include <cstdint>
#include <span>

#include "runtime/base/ids.h"

namespace switchyard {

// Which resident expert goes when a slot is needed: five verbs. A policy sees resident slots only,
// and chooses when results come, never what they are. To add one, write policies/NAME.{h,cc} and
// its line in registry.cc. Used from the cache's thread; never blocks; a slot out of range,
// admitted twice or unknown is a bug.
class EvictionPolicy {
 public:
  virtual ~EvictionPolicy() = default;

  // A layer's work begins. Layers ascend within a step, so one that is not above the last begins a
  // new step: policies that reckon with age or distance in layers keep their clock by it.
  virtual void begin_layer(uint16_t layer) = 0;
  // `key` has become resident in `slot`.
  virtual void admit(SlotIndex slot, ExpertKey key) = 0;
  // The expert in `slot` is used again.
  virtual void touch(SlotIndex slot) = 0;
  // The slot to give up, one that nobody leases: leases[slot] == 0. There is one. Changes nothing:
  // forget() follows.
  virtual SlotIndex victim(std::span<const uint32_t> leases) const = 0;
  // The expert in `slot` has gone.
  virtual void forget(SlotIndex slot) = 0;
};

}  // namespace switchyard
