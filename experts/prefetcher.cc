#include "experts/prefetcher.h"

#include <algorithm>
#include <utility>

#include "experts/slot_pool.h"
#include "runtime/base/check.h"

namespace switchyard {

Prefetcher::Prefetcher(SlotPool& pool, ExpertLoader& loader, uint64_t expert_bytes,
                       uint64_t bytes_per_step_max, uint64_t bytes_committed)
    : pool_(pool),
      loader_(loader),
      expert_bytes_(expert_bytes),
      gate_(bytes_per_step_max, bytes_committed),
      unused_(pool.size()) {}

void Prefetcher::begin_step() {
  gate_.begin_step();
  counters_.steps += 1;
  if (gate_.resting()) counters_.steps_rested += 1;
}

void Prefetcher::start(std::span<const PrefetchJob> jobs) {
  for (const PrefetchJob& job : jobs) {
    if (pool_.locate(job.key)) continue;
    if (!loader_.has_room(Urgency::kSpeculative)) return;
    const PrefetchGate::Job question{.probability = job.probability,
                                     .layers_ahead = job.layers_ahead,
                                     .bytes = expert_bytes_,
                                     .bytes_ahead = on_their_way_.size() * expert_bytes_};
    if (!gate_.admit(question)) continue;
    const auto slot = pool_.take(job.key, SlotPool::Victims::kUnexpected);
    if (!slot) return;
    taken(*slot);
    loader_.start(job.key, *slot, pool_.memory(*slot), Urgency::kSpeculative);
    on_their_way_.push_back({*slot, job.key.layer, {job.probability, job.layers_ahead}});
    counters_.started += 1;
  }
}

bool Prefetcher::unverified(SlotIndex slot) const {
  const auto& unused = unused_[slot.value];
  return unused && !unused->verified;
}

void Prefetcher::use(SlotIndex slot) {
  const auto unused = std::exchange(unused_[slot.value], std::nullopt);
  if (!unused) return;
  counters_.hits += 1;
  counters_.useful_bytes += expert_bytes_;
  gate_.useful(unused->promise, expert_bytes_);
}

// The job of `slot`, which is on its way, taken off the list.
Prefetcher::Job Prefetcher::extract(SlotIndex slot) {
  const auto at = std::ranges::find(on_their_way_, slot, &Job::slot);
  CHECK(at != on_their_way_.end());
  const Job job = *at;
  on_their_way_.erase(at);
  return job;
}

void Prefetcher::promote(SlotIndex slot) {
  const Job job = extract(slot);
  const uint64_t bytes = std::min(loader_.promote(slot), expert_bytes_);
  counters_.late += 1;
  counters_.useful_bytes += bytes;
  gate_.useful(job.promise, bytes);
}

void Prefetcher::waste(const PrefetchGate::Promise& promise, uint64_t bytes) {
  counters_.wasted_bytes += bytes;
  gate_.wasted(promise, bytes);
}

void Prefetcher::taken(SlotIndex slot) {
  const auto unused = std::exchange(unused_[slot.value], std::nullopt);
  if (unused) waste(unused->promise, expert_bytes_);
}

void Prefetcher::landed(const LoadEnd& end) {
  const Job job = extract(end.slot);
  if (end.status) {
    pool_.loaded(end.slot);
    unused_[end.slot.value] = {.promise = job.promise, .verified = end.verified};
  } else {
    pool_.load_failed(end.slot);  // demand will try again, should it come
    waste(job.promise, expert_bytes_);
  }
}

void Prefetcher::drop(SlotIndex slot) {
  const Job job = extract(slot);
  pool_.disown(slot);
  waste(job.promise, std::min(loader_.cancel(slot), expert_bytes_));
}

void Prefetcher::expire(uint16_t layer) {
  for (size_t i = on_their_way_.size(); i-- > 0;) {
    const Job& job = on_their_way_[i];
    if (job.layer == layer && !loader_.handed_on(job.slot)) drop(job.slot);
  }
}

bool Prefetcher::give_way() {
  if (on_their_way_.empty()) return false;
  drop(on_their_way_.back().slot);
  return true;
}

}  // namespace switchyard
