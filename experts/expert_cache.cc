#include "experts/expert_cache.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "experts/expert_source.h"
#include "experts/loader.h"
#include "experts/policies/registry.h"
#include "experts/slot_pool.h"
#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/device/slab.h"
#include "storage/input_file.h"
#include "storage/open_queue.h"

namespace switchyard {
namespace {

// Experts whose reads may be under way together. Each takes a place of the queue at least.
uint32_t loads_max(const ExpertSource& source, const ExpertCacheOptions& options) {
  return source.direct() ? std::min(options.slots, options.queue_depth)
                         : std::min(options.slots, options.staging);
}

// Why reads through `source`'s files are slower than they might be; empty when they are not.
std::string page_cache_warning(const ExpertSource& source) {
  for (const ExpertKey key : source.keys()) {
    for (const ExpertPiece& piece : source.pieces(key)) {
      if (piece.file->direct_fd() >= 0) continue;
      return fmt::format("{}: read through the page cache, which is slower: {}", piece.file->path(),
                         piece.file->direct_refusal());
    }
  }
  return {};
}

QueueChoice make_queue(const ExpertSource& source, const ExpertCacheOptions& options,
                       std::span<std::byte> slab) {
  if (options.make_queue) return {options.make_queue(slab), {}};
  QueueChoice choice = open_read_queue(slab, options.queue_depth, true);
  if (choice.warning.empty()) choice.warning = page_cache_warning(source);
  return choice;
}

}  // namespace

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

class ExpertCache::Impl {
 public:
  Impl(const ExpertSource& source, const ExpertCacheOptions& options, Slab slab,
       std::unique_ptr<EvictionPolicy> policy, QueueChoice choice);
  ~Impl() { end_request(); }

  Status fill(const std::function<void(uint64_t, uint64_t)>& progress);
  void request(uint16_t layer, std::span<const uint16_t> experts);
  Result<std::vector<ExpertLease>> next();

  ExpertCacheCounters counters;
  const std::string queue_name;
  const std::string warning;

 private:
  std::span<std::byte> slot_memory() const;
  std::span<std::byte> staging_memory() const;
  void start_misses();
  Result<bool> land(bool may_wait);
  Status wait();
  Status take_all_landed();
  void end_request();

  const ExpertSource& source_;
  const uint64_t slots_bytes_;
  Slab slab_;  // slots, then staging areas
  SlotPool pool_;
  ExpertLoader loader_;

  // Of the request under way, or of fill().
  std::vector<ExpertKey> misses_;  // in the order wanted
  size_t misses_started_ = 0;
  uint32_t on_their_way_ = 0;
  std::vector<SlotIndex> ready_;  // leased on behalf of next()'s caller
  bool hits_first_ = false;       // ready_ are the request's hits
};

ExpertCache::Impl::Impl(const ExpertSource& source, const ExpertCacheOptions& options, Slab slab,
                        std::unique_ptr<EvictionPolicy> policy, QueueChoice choice)
    : queue_name(choice.queue->name()),
      warning(std::move(choice.warning)),
      source_(source),
      slots_bytes_(options.slots * source.layout().slot_bytes()),
      slab_(std::move(slab)),
      pool_(slot_memory(), source.layout().slot_bytes(), source.keys(), std::move(policy)),
      loader_(source, std::move(choice.queue), staging_memory(), loads_max(source, options),
              options.read_chunk_bytes) {}

std::span<std::byte> ExpertCache::Impl::slot_memory() const {
  return slab_.span().first(slots_bytes_);
}

std::span<std::byte> ExpertCache::Impl::staging_memory() const {
  return slab_.span().subspan(slots_bytes_);
}

// As far as slots and staging areas reach.
void ExpertCache::Impl::start_misses() {
  while (misses_started_ < misses_.size() && loader_.has_room()) {
    const ExpertKey key = misses_[misses_started_];
    const auto slot = pool_.take(key);
    if (!slot) return;
    loader_.start(key, *slot, pool_.memory(*slot));
    misses_started_ += 1;
    on_their_way_ += 1;
  }
}

void ExpertCache::Impl::request(uint16_t layer, std::span<const uint16_t> experts) {
  CHECK(ready_.empty() && on_their_way_ == 0 && misses_started_ == misses_.size());
  misses_.clear();
  misses_started_ = 0;
  pool_.begin_layer(layer);
  for (const uint16_t expert : experts) {
    const ExpertKey key{layer, expert};
    if (const auto slot = pool_.find(key)) {
      pool_.lease_again(*slot);
      ready_.push_back(*slot);
    } else {
      misses_.push_back(key);
    }
  }
  counters.hits += ready_.size();
  counters.misses += misses_.size();
  hits_first_ = !ready_.empty();
  start_misses();
  (void)loader_.pump();  // an error leaves everything as it is: next() meets and returns it
}

// Brings one more of the misses into ready_; false when there is none left, or none without
// waiting.
Result<bool> ExpertCache::Impl::land(bool may_wait) {
  while (true) {
    start_misses();
    TRY_STATUS(loader_.pump());
    if (auto end = loader_.take()) {
      if (!end->abandoned) on_their_way_ -= 1;
      if (end->abandoned || !end->status) pool_.load_failed(end->slot);
      if (end->abandoned) continue;
      TRY_STATUS(std::move(end->status));
      pool_.loaded(end->slot);
      pool_.lease(end->slot);
      ready_.push_back(end->slot);
      counters.bytes_read += end->bytes;
      return true;
    }
    const bool all_landed = on_their_way_ == 0 && misses_started_ == misses_.size();
    if (all_landed || !may_wait) return false;
    TRY_STATUS(wait());
  }
}

Status ExpertCache::Impl::wait() {
  CHECK_THAT(loader_.reading(), "the leases on all {} slots are held", pool_.size());
  const double begin_seconds = now_seconds();
  Status status = loader_.wait();
  counters.wait_seconds += now_seconds() - begin_seconds;
  return status;
}

Status ExpertCache::Impl::take_all_landed() {
  while (TRY(land(ready_.empty()))) {
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
  const ExpertLayout& layout = source_.layout();
  std::vector<ExpertLease> leases;
  leases.reserve(ready_.size());
  for (const SlotIndex slot : ready_) {
    leases.push_back(
        ExpertLease(pool_, slot, pool_.key(slot), layout.view(pool_.memory(slot).data())));
  }
  ready_.clear();
  return leases;
}

// What is on its way ends as abandoned, whenever the drive is done with it.
void ExpertCache::Impl::end_request() {
  loader_.abandon();
  on_their_way_ = 0;
  misses_.clear();
  misses_started_ = 0;
  for (const SlotIndex slot : ready_) pool_.unlease(slot);
  ready_.clear();
  hits_first_ = false;
}

Status ExpertCache::Impl::fill(const std::function<void(uint64_t, uint64_t)>& progress) {
  CHECK(ready_.empty() && on_their_way_ == 0 && misses_started_ == misses_.size());
  misses_.clear();
  misses_started_ = 0;
  uint64_t bytes_all = 0;
  for (const ExpertKey key : source_.keys()) {
    if (misses_.size() == pool_.absent()) break;
    if (pool_.find(key)) continue;
    misses_.push_back(key);
    for (const ExpertPiece& piece : source_.pieces(key)) bytes_all += piece.bytes;
  }
  const ExpertCacheCounters before = counters;
  Result<bool> landed = true;
  while ((landed = land(true)) && *landed) {
    pool_.unlease(ready_.back());
    ready_.clear();
    if (progress) progress(counters.bytes_read - before.bytes_read, bytes_all);
  }
  counters = before;
  if (landed) return {};
  end_request();
  return tl::unexpected(landed.error());
}

uint64_t ExpertCache::slab_bytes(const ExpertSource& source, uint32_t slots, uint32_t staging) {
  return slots * source.layout().slot_bytes() +
         (source.direct() ? 0 : staging * source.staging_bytes());
}

Result<std::unique_ptr<ExpertCache>> ExpertCache::create(const ExpertSource& source,
                                                         const ExpertCacheOptions& options) {
  CHECK(options.slots > 0 && options.queue_depth > 0);
  CHECK(source.direct() || options.staging > 0);
  auto policy = TRY(make_policy(options.policy, options.slots));
  Slab slab =
      TRY(Slab::allocate(slab_bytes(source, options.slots, options.staging), "expert slots"));
  QueueChoice choice = make_queue(source, options, slab.span());
  return std::unique_ptr<ExpertCache>(new ExpertCache(std::make_unique<Impl>(
      source, options, std::move(slab), std::move(policy), std::move(choice))));
}

ExpertCache::ExpertCache(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ExpertCache::~ExpertCache() = default;

Status ExpertCache::fill(const std::function<void(uint64_t, uint64_t)>& progress) {
  return impl_->fill(progress);
}

void ExpertCache::request(uint16_t layer, std::span<const uint16_t> experts) {
  impl_->request(layer, experts);
}

Result<std::vector<ExpertLease>> ExpertCache::next() { return impl_->next(); }

const ExpertCacheCounters& ExpertCache::counters() const { return impl_->counters; }
void ExpertCache::reset_counters() { impl_->counters = {}; }
const std::string& ExpertCache::queue_name() const { return impl_->queue_name; }
const std::string& ExpertCache::warning() const { return impl_->warning; }

}  // namespace switchyard
