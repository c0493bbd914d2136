#include <algorithm>
#include <utility>

#include "experts/expert_cache_impl.h"
#include "runtime/base/check.h"
#include "runtime/base/spans.h"

namespace switchyard {

// The last layer's times teach the prefetcher how much the drive can do beside demand.
void ExpertCache::Impl::begin_layer(uint16_t layer) {
  const double now = now_();
  if (begun_) {
    prefetcher_.gate().end_layer({.seconds = now - layer_began_,
                                  .stalled_seconds = counters_.stall_seconds - stalled_before_,
                                  .idle_seconds = now - demand_ended_});
  }
  if (!begun_ || layer <= layer_) prefetcher_.begin_step();
  begun_ = true;
  layer_ = layer;
  layer_began_ = demand_ended_ = now;
  stalled_before_ = counters_.stall_seconds;
  pool_.begin_layer(layer);
  if (tier_) tier_->begin_layer(layer);
}

bool ExpertCache::Impl::want_on_device(ExpertKey key) {
  const auto leased = tier_ ? tier_->use(key) : std::nullopt;
  if (!leased) return false;
  counters_.hits += 1;
  counters_.layers[key.layer].hits += 1;
  ready_.push_back(*leased);
  return true;
}

void ExpertCache::Impl::hit(SlotIndex slot) {
  counters_.hits += 1;
  counters_.layers[layer_].hits += 1;
  prefetcher_.use(slot);
}

void ExpertCache::Impl::miss() {
  counters_.misses += 1;
  counters_.layers[layer_].misses += 1;
}

void ExpertCache::Impl::want(ExpertKey key) {
  const auto slot = pool_.locate(key);
  const bool resident = slot && pool_.residency(*slot) == Residency::kResident;
  if (tier_) tier_->used_below(resident);
  if (resident && prefetcher_.unverified(*slot)) {
    pool_.lease(*slot);
    unverified_.push_back(*slot);
    return;
  }
  if (resident) {
    hit(*slot);
    if (tier_ && path_ == CachePath::kKeep && tier_->fetch(*slot)) return;
    pool_.lease(*slot);
    ready_.push_back({&pool_, *slot});
    return;
  }
  miss();
  if (slot) {
    prefetcher_.promote(*slot);
    on_their_way_ += 1;
  } else {
    misses_.push_back(key);
  }
}

void ExpertCache::Impl::request(uint16_t layer, std::span<const uint16_t> experts, CachePath path) {
  CHECK_THAT(!open_, "layer {} while the request for layer {} is open", layer, layer_);
  begin_layer(layer);
  open_ = true;
  path_ = path;
  if (layer >= counters_.layers.size()) counters_.layers.resize(layer + size_t{1});
  for (const uint16_t expert : experts) {
    const ExpertKey key{layer, expert};
    if (want_on_device(key)) continue;
    pool_.use(key);
    below_.push_back(key);
  }
  for (const ExpertKey key : below_) want(key);
  prefetcher_.expire(layer);
  hits_first_ = !ready_.empty();
  start_misses();
  (void)loader_.pump();  // an error leaves everything as it is: next() meets and returns it
}

// A sweep goes round in a few slots.
std::optional<SlotIndex> ExpertCache::Impl::take_slot(ExpertKey key) {
  if (path_ == CachePath::kKeep) return pool_.take(key);
  const bool more = pool_.transient() < kSweepSlots;
  const auto slot = pool_.take(key, more ? SlotPool::Victims::kAny : SlotPool::Victims::kTransient);
  if (slot) pool_.set_transient(*slot);
  return slot;
}

// As far as slots and staging areas reach; demand may take those of speculation.
void ExpertCache::Impl::start_misses() {
  while (misses_started_ < misses_.size()) {
    const ExpertKey key = misses_[misses_started_];
    const auto slot = loader_.has_room() ? take_slot(key) : std::nullopt;
    if (!slot) {
      if (on_their_way_ == 0 && unverified_.empty()) prefetcher_.give_way();
      return;
    }
    prefetcher_.taken(*slot);
    loader_.start(key, *slot, pool_.memory(*slot));
    misses_started_ += 1;
    on_their_way_ += 1;
  }
}

// What a load's end means. An error is that of a demanded expert that failed twice.
Status ExpertCache::Impl::land(LoadEnd end) {
  if (end.abandoned) {
    pool_.load_failed(end.slot);
    return {};
  }
  if (end.urgency == Urgency::kSpeculative) {
    if (end.status) counters_.bytes_read += end.bytes;
    prefetcher_.landed(end);
    return {};
  }
  on_their_way_ -= 1;
  if (!end.status) {
    pool_.load_failed(end.slot);
    if (std::ranges::find(retried_, end.key) != retried_.end()) return std::move(end.status);
    retried_.push_back(end.key);
    counters_.retries += 1;
    misses_.insert(misses_.begin() + static_cast<ptrdiff_t>(misses_started_), end.key);
    return {};
  }
  pool_.loaded(end.slot);
  pool_.lease(end.slot);
  ready_.push_back({&pool_, end.slot});
  counters_.bytes_read += end.bytes;
  if (all_landed()) demand_ended_ = now_();
  return {};
}

bool ExpertCache::Impl::take_fetched() {
  if (!tier_) return false;
  const std::vector<LeasedSlot> fetched = tier_->take_fetched();
  ready_.insert(ready_.end(), fetched.begin(), fetched.end());
  return !fetched.empty();
}

// What was read ahead and is wanted now; false when there is none. Read again if it is damaged.
bool ExpertCache::Impl::verify_next() {
  if (unverified_.empty()) return false;
  const SlotIndex slot = unverified_.back();
  const ExpertKey key = pool_.key(slot);
  unverified_.pop_back();
  if (loader_.verify(key, pool_.memory(slot))) {
    hit(slot);
    ready_.push_back({&pool_, slot});
    return true;
  }
  miss();
  misses_.push_back(key);
  prefetcher_.taken(slot);
  pool_.unlease(slot);
  pool_.evict(slot);
  return true;
}

// Brings one more load or copy to its end; false when there is none left, or none without waiting.
Result<bool> ExpertCache::Impl::land_next(bool may_wait) {
  while (true) {
    if (take_fetched()) return true;
    start_misses();
    TRY_STATUS(loader_.pump());
    if (auto end = loader_.take()) {
      const size_t ready = ready_.size();
      TRY_STATUS(land(std::move(*end)));
      if (ready_.size() > ready) return true;
      continue;
    }
    if (!may_wait) return false;
    if (verify_next()) {
      if (!ready_.empty()) return true;
      continue;
    }
    if (!awaiting()) return false;
    TRY_STATUS(wait());
  }
}

// A copy that nobody waits for may hold the slot that a read needs.
Status ExpertCache::Impl::wait() {
  const bool copy = tier_ && tier_->copying() && (tier_->fetching() || !loader_.reading());
  CHECK_THAT(copy || loader_.reading(), "the leases on all {} slots are held", pool_.size());
  return copy ? tier_->wait() : loader_.wait();
}

void ExpertCache::Impl::stalled_since(double began) {
  const double now = now_();
  counters_.stall_seconds += now - began;
  if (spans_ != nullptr) spans_->add(kTrackWait, "wait", began, now);
}

Status ExpertCache::Impl::take_all_landed() {
  if (ready_.empty() && awaiting()) {
    const double began = now_();
    const auto landed = land_next(true);
    stalled_since(began);
    TRY_STATUS(landed);
  }
  while (TRY(land_next(false))) {
  }
  return {};
}

Result<std::vector<ExpertLease>> ExpertCache::Impl::next() {
  const Status status = hits_first_ ? loader_.pump() : take_all_landed();
  if (!status) {
    end_request();
    return tl::unexpected(status.error());
  }
  hits_first_ = false;
  if (ready_.empty()) {
    offer_to_device();
    end_request();
  }
  const ExpertLayout& layout = source_.layout();
  std::vector<ExpertLease> leases;
  leases.reserve(ready_.size());
  for (const auto& [pool, slot] : ready_) {
    leases.push_back(
        ExpertLease(*pool, slot, pool->key(slot), layout.view(pool->memory(slot).data())));
  }
  ready_.clear();
  return leases;
}

// What was computed from the host's slots; a sweep leaves the device as it is.
void ExpertCache::Impl::offer_to_device() {
  if (!tier_ || path_ == CachePath::kSweep) return;
  for (const ExpertKey key : below_) {
    if (const auto slot = pool_.find(key)) tier_->offer(*slot);
  }
}

// What is on its way ends as abandoned, whenever the drive is done with it.
void ExpertCache::Impl::end_request() {
  for (size_t i = 0; on_their_way_ > 0 && i < pool_.size(); ++i) {
    const SlotIndex slot{static_cast<uint32_t>(i)};
    if (!loader_.demanded(slot)) continue;
    pool_.disown(slot);
    loader_.cancel(slot);
    on_their_way_ -= 1;
  }
  CHECK(on_their_way_ == 0);
  misses_.clear();
  misses_started_ = 0;
  retried_.clear();
  for (const LeasedSlot& leased : ready_) leased.pool->unlease(leased.slot);
  ready_.clear();
  for (const SlotIndex slot : unverified_) pool_.unlease(slot);
  unverified_.clear();
  if (tier_) tier_->drop_fetched();
  below_.clear();
  hits_first_ = false;
  open_ = false;
}

}  // namespace switchyard
