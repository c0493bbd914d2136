#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "experts/placement_advisor.h"

namespace switchyard {

// What one rank did since its engine began, by layers that have routers.
struct RankWork {
  std::vector<std::vector<uint64_t>> picks = {};  // [layers][experts] by the rows that it brought
  std::vector<uint64_t> computed = {};            // [layers] experts of rows, the others' too
};

// One change of the placement. The busiest ranks' work is what they computed, layer by layer, ÷
// what they would have if all computed alike.
struct PlacementChange {
  uint64_t tokens = 0;  // of the work before it, since the last change
  double busiest_before = 1;
  double busiest_after = 1;  // until the next change, or so far
};

// Rank 0's view of how experts are placed: when to look again, and what became of changes.
class PlacementWatch {
 public:
  PlacementWatch(const ReplicaRules& rules, const Placement& now)
      : advisor_(rules, now), now_(now) {}

  void computed(uint32_t tokens) { tokens_ += tokens; }
  // Enough was computed since the last advise().
  bool due() const { return tokens_ >= tokens_seen_ + kTokensToAdvise; }
  // Of what the ranks did so far; the placement that is returned is the one that holds from now on.
  // Which holder computes a pick also depends on its neighbours in the expert tree, which the
  // advisor does not know: a change after which the busiest ranks had more to do is taken back, and
  // was the last one.
  std::optional<Placement> advise(std::span<const RankWork> ranks);
  // What was done since the last change counts for it.
  void update(std::span<const RankWork> ranks);
  const std::vector<PlacementChange>& changes() const { return changes_; }

 private:
  static constexpr uint64_t kTokensToAdvise = 256;
  PickCounts take_picks(std::span<const RankWork> ranks);
  double busiest_since_change(std::span<const RankWork> ranks) const;

  PlacementAdvisor advisor_;
  Placement now_, before_;
  bool taken_back_ = false;
  uint64_t tokens_ = 0, tokens_seen_ = 0, tokens_at_change_ = 0;
  PickCounts picks_seen_;                                  // of all ranks, at the last advise()
  std::vector<std::vector<uint64_t>> computed_at_change_;  // [ranks][layers]
  std::vector<PlacementChange> changes_;
};

}  // namespace switchyard
