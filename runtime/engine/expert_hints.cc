#include "runtime/engine/expert_hints.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include "experts/merge_jobs.h"
#include "runtime/base/align.h"

namespace switchyard {
namespace {

constexpr double kWhole = 255;  // of a hint's probability
constexpr uint32_t kWordBits = 64;

}  // namespace

ExpertHints::ExpertHints(World& world, const Placement& placement, bool replicas,
                         std::vector<uint16_t> layers, ExpertCache& cache)
    : placement_(placement),
      layers_(std::move(layers)),
      cache_(&cache),
      rank_(world.rank()),
      words_(replicas ? static_cast<uint32_t>(ceil_div(placement.holders.front().size(), kWordBits))
                      : 0),
      exchange_(world, words_),
      guesses_(world.size()),
      wanted_(world.size()),
      told_(layers_.size() * world.size() * words_),
      present_(words_ == 0 ? 0 : placement.holders.front().size()) {}

void ExpertHints::use(ExpertCache& cache) {
  cache_ = &cache;
  std::ranges::fill(told_, 0);
}

void ExpertHints::begin_step(uint32_t number) {
  step_ = number;
  for (auto& of_rank : guesses_) of_rank.clear();
}

// What `rank` has said of the layer, a bit each expert.
std::span<uint64_t> ExpertHints::told(uint32_t at, uint32_t rank) {
  return std::span(told_).subspan((size_t{at} * wanted_.size() + rank) * words_, words_);
}

// What this rank has in memory.
void ExpertHints::look(uint32_t at) {
  const std::span<uint64_t> own = told(at, rank_);
  std::ranges::fill(own, 0);
  for (size_t place = 0; place < present_.size(); ++place) {
    const auto expert = static_cast<uint16_t>(place);
    const RankSet holders = placement_.holders[at][expert];
    const bool replica = (holders >> rank_ & 1) != 0 && !std::has_single_bit(holders);
    if (replica && cache_->present({layers_[at], expert})) {
      own[expert / kWordBits] |= uint64_t{1} << expert % kWordBits;
    }
  }
}

std::span<const uint64_t> ExpertHints::present(uint32_t at) {
  if (words_ == 0) return {};
  look(at);
  for (size_t expert = 0; expert < present_.size(); ++expert) {
    present_[expert] = 0;
    for (uint32_t rank = 0; rank < wanted_.size(); ++rank) {
      const bool there = (told(at, rank)[expert / kWordBits] >> expert % kWordBits & 1) != 0;
      present_[expert] |= there ? uint64_t{1} << rank : 0;
    }
  }
  return present_;
}

// Whose guess it is, with those that share the expert: this rank's if it holds it; else a rank that
// has it in memory already will be asked for it.
uint32_t ExpertHints::holder(uint32_t at, uint16_t expert) {
  const RankSet holders = placement_.holders[at][expert];
  if ((holders >> rank_ & 1) != 0) return rank_;
  for (RankSet left = words_ > 0 ? holders : 0; left != 0; left &= left - 1) {
    const auto rank = static_cast<uint32_t>(std::countr_zero(left));
    if ((told(at, rank)[expert / kWordBits] >> expert % kWordBits & 1) != 0) return rank;
  }
  return static_cast<uint32_t>(std::countr_zero(holders));
}

void ExpertHints::tell(uint32_t at, std::span<const PrefetchJob> guesses) {
  at_ = at;
  guesses_[rank_].clear();
  for (auto& of_rank : wanted_) of_rank.clear();
  for (const PrefetchJob& job : guesses) {
    const uint32_t ahead = at + job.layers_ahead;
    if (ahead >= layers_.size()) continue;  // of the next step
    for (const uint32_t rank : placement_.group_of(holder(ahead, job.key.expert))) {
      if (rank == rank_) {
        guesses_[rank_].push_back({ahead, job.key.expert, job.probability});
        continue;
      }
      wanted_[rank].push_back(
          {.expert = job.key.expert,
           .layers_ahead = static_cast<uint8_t>(job.layers_ahead),
           .probability = static_cast<uint8_t>(std::lround(job.probability * kWhole))});
    }
  }
  if (at + 1 == layers_.size() && words_ == 0) return;
  if (words_ > 0) look(behind(at));
  exchange_.begin(step_, layers_[at], wanted_, told(behind(at), rank_));
}

// What a rank tells takes the place of what it told before.
void ExpertHints::take(const Hints& hints) {
  const auto found = std::ranges::lower_bound(layers_, hints.layer);
  const auto at = static_cast<uint32_t>(found - layers_.begin());
  guesses_[hints.from].clear();
  for (const Hint& hint : hints.wanted) {
    guesses_[hints.from].push_back(
        {at + hint.layers_ahead, hint.expert, hint.probability / kWhole});
  }
  news_ |= !hints.wanted.empty();
  std::ranges::copy(hints.present, told(behind(at), hints.from).begin());
}

void ExpertHints::prefetch() {
  if (!std::exchange(news_, false)) return;
  std::vector<PrefetchJob> jobs;
  for (const auto& of_rank : guesses_) {
    for (const Guess& guess : of_rank) {
      if (guess.at <= at_ || guess.at >= layers_.size()) continue;
      jobs.push_back({{layers_[guess.at], guess.expert}, guess.probability, guess.at - at_});
    }
  }
  cache_->prefetch(merge_jobs(jobs));
}

Status ExpertHints::hear(bool wait) {
  TRY_STATUS(wait ? exchange_.finish(layers_[at_], take_) : exchange_.take(take_));
  prefetch();
  return {};
}

Status ExpertHints::end_layer() {
  const bool last = at_ + 1 == layers_.size();
  if (at_ > 0 && !last) TRY_STATUS(exchange_.finish(layers_[at_ - 1], take_));
  return hear(last);
}

}  // namespace switchyard
