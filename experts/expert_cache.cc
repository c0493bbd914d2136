#include "experts/expert_cache.h"

#include <algorithm>
#include <string>
#include <utility>

#include "experts/expert_cache_impl.h"
#include "experts/policies/registry.h"
#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/spans.h"

namespace switchyard {
namespace {

// Experts whose reads may be under way together. Each takes a place of the queue at least.
uint32_t loads_max(const ExpertSource& source, const ExpertCacheOptions& options) {
  return source.direct() ? std::min(options.slots, options.queue_depth)
                         : std::min(options.slots, options.staging);
}

constexpr double kExpectedMin = 0.3;  // probability from which an expert is kept for its layer

}  // namespace

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
  loader_.on_checksum(options.on_checksum);
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

void ExpertCache::Impl::prefetch(std::span<const PrefetchJob> jobs) {
  absent_jobs_.clear();
  for (const PrefetchJob& job : jobs) {
    if (!pool_.knows(job.key)) continue;             // another rank's
    if (open_ && job.key.layer == layer_) continue;  // of the next step: its turn is now
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
  if (!loader_.pump()) return;
  if (open_) {
    (void)verify_next();
    return;
  }
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
