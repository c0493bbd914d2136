#pragma once

// What ExpertCache is made of: expert_cache.cc sets it up and speculates, expert_request.cc serves
// requests.

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experts/cache_queue.h"
#include "experts/device_tier.h"
#include "experts/expert_cache.h"
#include "experts/expert_source.h"
#include "experts/loader.h"
#include "experts/prefetcher.h"
#include "experts/slot_pool.h"
#include "runtime/device/slab.h"

namespace switchyard {

class ExpertCache::Impl {
 public:
  Impl(const ExpertSource& source, const ExpertCacheOptions& options, Slab slab,
       std::unique_ptr<EvictionPolicy> policy, QueueChoice choice);
  ~Impl() { end_request(); }
  Status open_device(const ExpertCacheOptions& options);

  Status fill(const std::function<void(uint64_t, uint64_t)>& progress);
  void request(uint16_t layer, std::span<const uint16_t> experts, CachePath path);
  Result<std::vector<ExpertLease>> next();
  void foresee(std::span<const ForeseenUse> uses) {
    pool_.foresee(uses);
    if (tier_) tier_->foresee(uses);
  }
  void prefetch(std::span<const PrefetchJob> jobs);
  bool present(ExpertKey key) const { return pool_.locate(key) || (tier_ && tier_->holds(key)); }
  void pump();
  Result<std::span<std::byte>> lend();
  void take_back(std::span<std::byte> slot);
  uint32_t slots() const { return pool_.size() - pool_.lent(); }
  uint32_t device_slots() const { return tier_ ? tier_->slots() : 0; }
  ExpertCacheCounters counters() const;
  void reset_counters();

  const std::string queue_name;
  std::string warning;

 private:
  void begin_layer(uint16_t layer);
  bool want_on_device(ExpertKey key);
  void hit(SlotIndex slot);
  void miss();
  void want(ExpertKey key);
  bool verify_next();
  std::optional<SlotIndex> take_slot(ExpertKey key);
  void start_misses();
  Status land(LoadEnd end);
  bool take_fetched();
  Result<bool> land_next(bool may_wait);
  bool all_landed() const { return on_their_way_ == 0 && misses_started_ == misses_.size(); }
  bool awaiting() const {
    return !all_landed() || !unverified_.empty() || (tier_ && tier_->fetching());
  }
  Status wait();
  void stalled_since(double began);
  Status take_all_landed();
  void offer_to_device();
  void end_request();

  const ExpertSource& source_;
  const uint64_t slots_bytes_;
  const std::function<double()> now_;
  Spans* const spans_;
  Slab slab_;  // slots, then staging areas
  SlotPool pool_;
  ExpertLoader loader_;
  Prefetcher prefetcher_;
  std::unique_ptr<DeviceTier> tier_;  // null: there is no device
  ExpertCacheCounters counters_;

  // Of the request under way, or of fill().
  bool open_ = false;
  uint16_t layer_ = 0;
  CachePath path_ = CachePath::kKeep;
  std::vector<ExpertKey> misses_;  // in the order wanted
  size_t misses_started_ = 0;
  uint32_t on_their_way_ = 0;
  std::vector<ExpertKey> retried_;
  std::vector<LeasedSlot> ready_;         // on behalf of next()'s caller
  bool hits_first_ = false;               // ready_ are the request's hits
  std::vector<SlotIndex> unverified_;     // wanted, leased, and their checksums to be taken
  std::vector<ExpertKey> below_;          // wanted and not on the device
  std::vector<PrefetchJob> absent_jobs_;  // of prefetch(), not on the device

  // Of the layer whose work goes on.
  bool begun_ = false;
  double layer_began_ = 0, demand_ended_ = 0, stalled_before_ = 0;  // seconds
  double overhead_seconds_ = 0;  // of speculation, since a prefetched expert landed
};

}  // namespace switchyard
