#include "experts/placement_advisor.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <queue>
#include <utility>

#include "experts/replicas.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr double kClearlyLess = 0.9;  // of the busiest ranks' work
constexpr double kAgeing = 0.5;       // of what picks count, from one call to the next
constexpr double kGainMin = 0.01;     // of a layer's squared mean work, for a further holder

using Loads = std::vector<double>;  // [ranks] picks of a layer

Loads loads_of(const std::vector<RankSet>& holders, const std::vector<double>& picks,
               uint32_t ranks) {
  Loads loads(ranks);
  for (size_t expert = 0; expert < holders.size(); ++expert) {
    const double each = picks[expert] / std::popcount(holders[expert]);
    for (RankSet left = holders[expert]; left != 0; left &= left - 1) {
      loads[static_cast<size_t>(std::countr_zero(left))] += each;
    }
  }
  return loads;
}

double mean_of(const Loads& loads) {
  return std::accumulate(loads.begin(), loads.end(), 0.0) / static_cast<double>(loads.size());
}

struct Replica {
  double gain = 0;
  size_t layer = 0, expert = 0;
  uint32_t rank = 0;
  bool operator<(const Replica& other) const { return gain < other.gain; }
};

class EvenOut {
 public:
  EvenOut(const ReplicaRules& rules, const PickCounts& picks)
      : placement_(rules.base),
        room_(replica_room(rules.base, rules.memory_share)),
        picks_(picks),
        held_(rules.base.ranks) {
    for (size_t layer = 0; layer < picks.size(); ++layer) {
      loads_.push_back(loads_of(placement_.holders[layer], picks[layer], placement_.ranks));
    }
  }

  Placement result() {
    std::priority_queue<Replica> best;
    for (size_t layer = 0; layer < picks_.size(); ++layer) best.push(best_of(layer));
    for (uint64_t added = 0; added < room_.all && best.top().gain > kGainMin;) {
      const Replica replica = best.top();
      best.pop();
      if (held_[replica.rank] < room_.each) {
        add(replica);
        added += 1;
      }
      best.push(best_of(replica.layer));
    }
    return std::move(placement_);
  }

 private:
  // By how much the sum of squared loads would fall, in squares of the mean.
  Replica best_of(size_t layer) const {
    const std::vector<RankSet>& holders = placement_.holders[layer];
    const Loads& loads = loads_[layer];
    const double mean = mean_of(loads);
    Replica best{.layer = layer};
    for (size_t expert = 0; expert < holders.size() && mean > 0; ++expert) {
      const double count = std::popcount(holders[expert]);
      const double given = picks_[layer][expert] / (count + 1);  // to the new holder
      const double each = given / count;                         // by each of the others
      double before = 0, after = 0;
      for (RankSet left = holders[expert]; left != 0; left &= left - 1) {
        const double load = loads[static_cast<size_t>(std::countr_zero(left))];
        before += load * load;
        after += (load - each) * (load - each);
      }
      for (uint32_t rank = 0; rank < placement_.ranks; ++rank) {
        if ((holders[expert] >> rank & 1) != 0 || held_[rank] == room_.each) continue;
        if (placement_.leader_of(rank) != rank) continue;  // it helps with what another gets
        const double load = loads[rank];
        const double fell = before + load * load - after - (load + given) * (load + given);
        const double gain = fell / (mean * mean);
        if (gain > best.gain) best = {gain, layer, expert, rank};
      }
    }
    return best;
  }

  void add(const Replica& replica) {
    std::vector<RankSet>& holders = placement_.holders[replica.layer];
    holders[replica.expert] |= RankSet{1} << replica.rank;
    held_[replica.rank] += 1;
    loads_[replica.layer] = loads_of(holders, picks_[replica.layer], placement_.ranks);
  }

  Placement placement_;
  const ReplicaRoom room_;
  const PickCounts& picks_;
  std::vector<Loads> loads_;    // [layers]
  std::vector<uint64_t> held_;  // [ranks] of the further holders
};

}  // namespace

double busiest_work(const Placement& placement, const PickCounts& picks) {
  double busiest = 0, mean = 0;
  for (size_t layer = 0; layer < picks.size(); ++layer) {
    const Loads loads = loads_of(placement.holders[layer], picks[layer], placement.ranks);
    busiest += std::ranges::max(loads);
    mean += mean_of(loads);
  }
  return mean > 0 ? busiest / mean : 1;
}

Placement even_out(const ReplicaRules& rules, const PickCounts& picks) {
  CHECK(picks.size() == rules.base.holders.size());
  return picks.empty() ? rules.base : EvenOut(rules, picks).result();
}

PlacementAdvisor::PlacementAdvisor(ReplicaRules rules, Placement now)
    : rules_(std::move(rules)), now_(std::move(now)) {}

std::optional<Placement> PlacementAdvisor::advise(const PickCounts& latest) {
  std::optional<Placement> advised;
  if (before_.empty()) {
    before_ = latest;
    return advised;
  }
  Placement other = even_out(rules_, before_);
  if (busiest_work(other, latest) <= kClearlyLess * busiest_work(now_, latest)) {
    now_ = other;
    advised = std::move(other);
  }
  for (size_t layer = 0; layer < latest.size(); ++layer) {
    for (size_t expert = 0; expert < latest[layer].size(); ++expert) {
      before_[layer][expert] = kAgeing * before_[layer][expert] + latest[layer][expert];
    }
  }
  return advised;
}

}  // namespace switchyard
