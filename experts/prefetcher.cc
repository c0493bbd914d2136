#include "experts/prefetcher.h"

#include <algorithm>

#include "experts/slot_pool.h"
#include "runtime/base/check.h"

namespace switchyard {

Prefetcher::Prefetcher(SlotPool& pool, ExpertLoader& loader, uint64_t expert_bytes,
                       uint64_t bytes_per_step_max)
    : pool_(pool),
      loader_(loader),
      expert_bytes_(expert_bytes),
      gate_(bytes_per_step_max),
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
    on_their_way_.push_back({*slot, job.key.layer});
    counters_.started += 1;
  }
}

bool Prefetcher::use(SlotIndex slot) {
  if (!unused_[slot.value]) return false;
  unused_[slot.value] = false;
  counters_.hits += 1;
  counters_.useful_bytes += expert_bytes_;
  gate_.useful(expert_bytes_);
  return true;
}

void Prefetcher::promote(SlotIndex slot) {
  const auto removed =
      std::erase_if(on_their_way_, [&](const Job& job) { return job.slot == slot; });
  CHECK(removed == 1);
  const uint64_t bytes = std::min(loader_.promote(slot), expert_bytes_);
  counters_.late += 1;
  counters_.useful_bytes += bytes;
  gate_.useful(bytes);
}

void Prefetcher::waste(uint64_t bytes) {
  counters_.wasted_bytes += bytes;
  gate_.wasted(bytes);
}

void Prefetcher::taken(SlotIndex slot) {
  if (!unused_[slot.value]) return;
  unused_[slot.value] = false;
  waste(expert_bytes_);
}

void Prefetcher::landed(const LoadEnd& end) {
  std::erase_if(on_their_way_, [&](const Job& job) { return job.slot == end.slot; });
  if (end.status) {
    pool_.loaded(end.slot);
    unused_[end.slot.value] = true;
  } else {
    pool_.load_failed(end.slot);  // demand will try again, should it come
    waste(expert_bytes_);
  }
}

void Prefetcher::drop(size_t job) {
  const SlotIndex slot = on_their_way_[job].slot;
  on_their_way_.erase(on_their_way_.begin() + static_cast<ptrdiff_t>(job));
  pool_.disown(slot);
  waste(std::min(loader_.cancel(slot), expert_bytes_));
}

void Prefetcher::expire(uint16_t layer) {
  for (size_t i = on_their_way_.size(); i-- > 0;) {
    const Job& job = on_their_way_[i];
    if (job.layer == layer && !loader_.handed_on(job.slot)) drop(i);
  }
}

bool Prefetcher::give_way() {
  if (on_their_way_.empty()) return false;
  drop(on_their_way_.size() - 1);
  return true;
}

}  // namespace switchyard
