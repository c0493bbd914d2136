#pragma once

#include "experts/expert_layout.h"
#include "runtime/base/ids.h"

namespace switchyard {

class SlotPool;

// The right to read one expert's slot; while it lives the slot is not evicted. Move-only.
class ExpertLease {
 public:
  // `slot` is leased in `pool` already.
  ExpertLease(SlotPool& pool, SlotIndex slot, ExpertKey key, const ExpertView& view);
  ExpertLease(ExpertLease&&) noexcept;
  ExpertLease& operator=(ExpertLease&&) noexcept;
  ~ExpertLease();
  ExpertKey key() const { return key_; }
  const ExpertView& view() const { return view_; }

 private:
  SlotPool* pool_;  // null once moved from
  SlotIndex slot_;
  ExpertKey key_;
  ExpertView view_;
};

}  // namespace switchyard
