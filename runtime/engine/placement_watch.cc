#include "runtime/engine/placement_watch.h"

#include <algorithm>
#include <functional>
#include <utility>

namespace switchyard {

// Of all ranks, since the last call.
PickCounts PlacementWatch::take_picks(std::span<const RankWork> ranks) {
  PickCounts now;
  for (const auto& layer : ranks.front().picks) now.emplace_back(layer.size());
  for (const RankWork& rank : ranks) {
    for (size_t layer = 0; layer < now.size(); ++layer) {
      std::ranges::transform(now[layer], rank.picks[layer], now[layer].begin(), std::plus());
    }
  }
  PickCounts since = now;
  for (size_t layer = 0; layer < picks_seen_.size(); ++layer) {
    std::ranges::transform(since[layer], picks_seen_[layer], since[layer].begin(), std::minus());
  }
  picks_seen_ = std::move(now);
  return since;
}

double PlacementWatch::busiest_since_change(std::span<const RankWork> ranks) const {
  uint64_t busiest = 0, all = 0;
  for (size_t layer = 0; layer < ranks.front().computed.size(); ++layer) {
    uint64_t most = 0;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      const uint64_t before = changes_.empty() ? 0 : computed_at_change_[rank][layer];
      const uint64_t since = ranks[rank].computed[layer] - before;
      most = std::max(most, since);
      all += since;
    }
    busiest += most;
  }
  return all > 0 ? static_cast<double>(busiest * ranks.size()) / static_cast<double>(all) : 1;
}

void PlacementWatch::update(std::span<const RankWork> ranks) {
  if (!changes_.empty()) changes_.back().busiest_after = busiest_since_change(ranks);
}

std::optional<Placement> PlacementWatch::advise(std::span<const RankWork> ranks) {
  tokens_seen_ = tokens_;
  const PickCounts picks = take_picks(ranks);
  update(ranks);
  if (taken_back_) return std::nullopt;
  taken_back_ = !changes_.empty() && changes_.back().busiest_after > changes_.back().busiest_before;
  std::optional<Placement> next = taken_back_ ? before_ : advisor_.advise(picks);
  if (!next) return next;
  changes_.push_back(
      {.tokens = tokens_ - tokens_at_change_, .busiest_before = busiest_since_change(ranks)});
  tokens_at_change_ = tokens_;
  computed_at_change_.clear();
  for (const RankWork& rank : ranks) computed_at_change_.push_back(rank.computed);
  before_ = std::exchange(now_, *next);
  return next;
}

}  // namespace switchyard
