#include "experts/expert_cache.h"

#include <algorithm>
#include <string>
#include <utility>

#include "experts/cache_queue.h"
#include "experts/device_tier.h"
#include "experts/expert_source.h"
#include "experts/loader.h"
#include "experts/policies/registry.h"
#include "experts/slot_pool.h"
#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/spans.h"
#include "runtime/device/slab.h"
#include "storage/open_queue.h"

namespace switchyard {
namespace {

// Experts whose reads may be under way together. Each takes a place of the queue at least.
uint32_t loads_max(const ExpertSource& source, const ExpertCacheOptions& options) {
  return source.direct() ? std::min(options.slots, options.queue_depth)
                         : std::min(options.slots, options.staging);
}

constexpr double kExpectedMin = 0.3;  // probability from which an expert is kept for its layer

}  // namespace

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
  void want(ExpertKey key);
  std::optional<SlotIndex> take_slot(ExpertKey key);
  void start_misses();
  Status land(LoadEnd end);
  bool take_fetched();
  Result<bool> land_next(bool may_wait);
  bool all_landed() const { return on_their_way_ == 0 && misses_started_ == misses_.size(); }
  bool awaiting() const { return !all_landed() || (tier_ && tier_->fetching()); }
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
  std::vector<ExpertKey> below_;          // wanted and not on the device
  std::vector<PrefetchJob> absent_jobs_;  // of prefetch(), not on the device

  // Of the layer whose work goes on.
  bool begun_ = false;
  double layer_began_ = 0, demand_ended_ = 0, stalled_before_ = 0;  // seconds
  double overhead_seconds_ = 0;  // of speculation, since a prefetched expert landed
};

ExpertCache::Impl::Impl(const ExpertSource& source, const ExpertCacheOptions& options, Slab slab,
                        std::unique_ptr<EvictionPolicy> policy, QueueChoice choice)
    : queue_name(std::string(choice.queue->name()) + (options.buffered ? ", page cache" : "")),
      warning(std::move(choice.warning)),
      source_(source),
      slots_bytes_(options.slots * source.slot_bytes()),
      now_(options.now_seconds ? options.now_seconds : now_seconds),
      spans_(options.spans),
      slab_(std::move(slab)),
      pool_(slab_.span().first(slots_bytes_), source.slot_bytes(), source.keys(),
            std::move(policy)),
      loader_(source, std::move(choice.queue), slab_.span().subspan(slots_bytes_),
              loads_max(source, options), options.read_chunk_bytes),
      prefetcher_(pool_, loader_, source.expert_bytes(), options.prefetch_bytes_per_step,
                  uint64_t{ExpertLoader::kSpeculativeReads} * options.read_chunk_bytes) {
  prefetcher_.gate().observe_drive(options.drive_bytes_per_second, 1);
  if (spans_ != nullptr) loader_.record(*spans_, kTrackReads);
}

Status ExpertCache::Impl::open_device(const ExpertCacheOptions& options) {
  if (options.device == nullptr) return {};
  CHECK(options.device->host_readable());
  if (spans_ != nullptr) spans_->name_track(kTrackCopies, "copies to the device");
  tier_ = TRY(DeviceTier::create(*options.device, source_, pool_, slab_.span(),
                                 {.policy = options.policy,
                                  .future = options.future,
                                  .memory_bytes_per_second = options.memory_bytes_per_second,
                                  .drive_bytes_per_second = options.drive_bytes_per_second,
                                  .spans = spans_,
                                  .track = kTrackCopies}));
  if (warning.empty()) warning = tier_->warning();
  return {};
}

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

void ExpertCache::Impl::want(ExpertKey key) {
  const auto slot = pool_.locate(key);
  const bool resident = slot && pool_.residency(*slot) == Residency::kResident;
  if (tier_) tier_->used_below(resident);
  if (resident) {
    counters_.hits += 1;
    counters_.layers[key.layer].hits += 1;
    prefetcher_.use(*slot);
    if (tier_ && path_ == CachePath::kKeep && tier_->fetch(*slot)) return;
    pool_.lease(*slot);
    ready_.push_back({&pool_, *slot});
    return;
  }
  counters_.misses += 1;
  counters_.layers[key.layer].misses += 1;
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
      if (on_their_way_ == 0) prefetcher_.give_way();
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
    if (!awaiting() || !may_wait) return false;
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
  if (tier_) tier_->drop_fetched();
  below_.clear();
  hits_first_ = false;
  open_ = false;
}

void ExpertCache::Impl::prefetch(std::span<const PrefetchJob> jobs) {
  absent_jobs_.clear();
  for (const PrefetchJob& job : jobs) {
    if (!pool_.knows(job.key)) continue;  // another rank's
    const bool on_device = tier_ && tier_->holds(job.key);
    if (!on_device) absent_jobs_.push_back(job);
    if (job.probability < kExpectedMin) continue;
    pool_.expect(job.key);
    if (tier_) tier_->expect(job.key);
  }
  const double began = now_();
  const uint64_t started = prefetcher_.counters().started;
  prefetcher_.start(absent_jobs_);
  (void)loader_.pump();  // as in request()
  const auto more = static_cast<double>(prefetcher_.counters().started - started);
  overhead_seconds_ += more > 0 ? now_() - began : 0;
}

// Speculation's own failures are its own affair.
void ExpertCache::Impl::pump() {
  const double began = now_();
  if (tier_) tier_->poll();
  if (!loader_.pump() || open_) return;
  uint32_t landed = 0;
  for (; auto end = loader_.take(); ++landed) (void)land(std::move(*end));
  if (landed == 0) return;
  overhead_seconds_ += now_() - began;
  prefetcher_.gate().observe_overhead(overhead_seconds_ / landed);
  overhead_seconds_ = 0;
}

Result<std::span<std::byte>> ExpertCache::Impl::lend() {
  CHECK(!open_);
  const double began = now_();
  auto slot = pool_.lend();
  const bool stalls = !slot;
  for (; !slot; slot = pool_.lend()) {
    prefetcher_.give_way();
    TRY_STATUS(loader_.pump());
    auto end = loader_.take();
    TRY_STATUS(end ? land(std::move(*end)) : wait());
  }
  if (stalls) stalled_since(began);
  prefetcher_.taken(*slot);
  return pool_.memory(*slot);
}

void ExpertCache::Impl::take_back(std::span<std::byte> slot) {
  const auto at = static_cast<uint64_t>(slot.data() - slab_.data());
  pool_.give_back({static_cast<uint32_t>(at / source_.slot_bytes())});
}

Status ExpertCache::Impl::fill(const std::function<void(uint64_t, uint64_t)>& progress) {
  CHECK(!open_);
  open_ = true;
  path_ = CachePath::kKeep;
  uint64_t bytes_all = 0;
  for (const ExpertKey key : source_.keys()) {
    if (misses_.size() == pool_.absent()) break;
    if (pool_.find(key)) continue;
    misses_.push_back(key);
    for (const ExpertPiece& piece : source_.pieces(key)) bytes_all += piece.bytes;
  }
  const ExpertCacheCounters before = counters_;
  const double began = now_();
  Result<bool> landed = true;
  while ((landed = land_next(true)) && *landed) {
    pool_.unlease(ready_.back().slot);
    ready_.clear();
    if (progress) progress(counters_.bytes_read - before.bytes_read, bytes_all);
  }
  const double seconds = now_() - began;
  const auto bytes = static_cast<double>(counters_.bytes_read - before.bytes_read);
  prefetcher_.gate().observe_drive(bytes, seconds);
  if (tier_ && bytes > 0 && seconds > 0) tier_->observe_drive(bytes / seconds);
  counters_ = before;
  end_request();
  return landed.map([](bool) {});
}

ExpertCacheCounters ExpertCache::Impl::counters() const {
  ExpertCacheCounters counters = counters_;
  counters.prefetch = prefetcher_.counters();
  if (tier_) counters.device = tier_->counters();
  return counters;
}

void ExpertCache::Impl::reset_counters() {
  counters_ = {};
  stalled_before_ = 0;
  prefetcher_.reset_counters();
  if (tier_) tier_->reset_counters();
}

uint64_t ExpertCache::slab_bytes(const ExpertSource& source, uint32_t slots, uint32_t staging) {
  return slots * source.slot_bytes() + (source.direct() ? 0 : staging * source.staging_bytes());
}

Result<std::unique_ptr<ExpertCache>> ExpertCache::create(const ExpertSource& source,
                                                         const ExpertCacheOptions& options) {
  CHECK(options.slots > 0 && options.queue_depth > 0);
  CHECK(source.direct() || options.staging > 0);
  auto policy = TRY(make_policy(
      options.policy, {.slots = options.slots, .keys = source.keys(), .future = options.future}));
  Slab slab =
      TRY(Slab::allocate(slab_bytes(source, options.slots, options.staging), "expert slots"));
  QueueChoice choice = open_cache_queue(source, options, slab.span());
  auto impl = std::make_unique<Impl>(source, options, std::move(slab), std::move(policy),
                                     std::move(choice));
  TRY_STATUS(impl->open_device(options));
  return std::unique_ptr<ExpertCache>(new ExpertCache(std::move(impl)));
}

ExpertCache::ExpertCache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExpertCache::~ExpertCache() = default;

Status ExpertCache::fill(const std::function<void(uint64_t, uint64_t)>& progress) {
  return impl_->fill(progress);
}

void ExpertCache::request(uint16_t layer, std::span<const uint16_t> experts, CachePath path) {
  impl_->request(layer, experts, path);
}

Result<std::vector<ExpertLease>> ExpertCache::next() { return impl_->next(); }
void ExpertCache::foresee(std::span<const ForeseenUse> uses) { impl_->foresee(uses); }
void ExpertCache::prefetch(std::span<const PrefetchJob> jobs) { impl_->prefetch(jobs); }
bool ExpertCache::present(ExpertKey key) const { return impl_->present(key); }
void ExpertCache::pump() { impl_->pump(); }
Result<std::span<std::byte>> ExpertCache::lend() { return impl_->lend(); }
void ExpertCache::take_back(std::span<std::byte> slot) { impl_->take_back(slot); }
uint32_t ExpertCache::slots() const { return impl_->slots(); }
uint32_t ExpertCache::device_slots() const { return impl_->device_slots(); }
ExpertCacheCounters ExpertCache::counters() const { return impl_->counters(); }
void ExpertCache::reset_counters() { impl_->reset_counters(); }
const std::string& ExpertCache::queue_name() const { return impl_->queue_name; }
const std::string& ExpertCache::warning() const { return impl_->warning; }

}  // namespace switchyard
