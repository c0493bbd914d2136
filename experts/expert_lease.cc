#include "experts/expert_lease.h"

#include <utility>

#include "experts/slot_pool.h"

namespace switchyard {

ExpertLease::ExpertLease(SlotPool& pool, SlotIndex slot, ExpertKey key, const ExpertView& view)
    : pool_(&pool), slot_(slot), key_(key), view_(view) {}

ExpertLease::ExpertLease(ExpertLease&& other) noexcept
    : pool_(std::exchange(other.pool_, nullptr)),
      slot_(other.slot_),
      key_(other.key_),
      view_(other.view_) {}

ExpertLease& ExpertLease::operator=(ExpertLease&& other) noexcept {
  std::swap(pool_, other.pool_);
  std::swap(slot_, other.slot_);
  std::swap(key_, other.key_);
  std::swap(view_, other.view_);
  return *this;
}

ExpertLease::~ExpertLease() {
  if (pool_ != nullptr) pool_->unlease(slot_);
}

}  // namespace switchyard
