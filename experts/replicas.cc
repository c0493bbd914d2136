#include "experts/replicas.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <deque>
#include <queue>

#include "runtime/base/check.h"
#include "runtime/base/replica_choice.h"

namespace switchyard {
namespace {

constexpr size_t kLayerTokensMax = 1 << 14;  // of a layer; more only take longer
// Copies a token that a squared imbalance is worth: of a layer, of all layers.
constexpr double kCopiesOfLayer = 0.8;
constexpr double kCopiesOfAll = 10;

struct Candidate {
  uint32_t layer = 0, expert = 0, rank = 0;
  double gain = 0;       // when it was last looked at
  uint64_t version = 0;  // of its layer, then
  bool operator<(const Candidate& other) const { return gain < other.gain; }
};

double unevenness(const std::vector<double>& loads) {
  double sum = 0, squares = 0;
  for (const double load : loads) {
    sum += load;
    squares += load * load;
  }
  const double mean = sum / static_cast<double>(loads.size());
  return sum > 0 ? squares / (mean * mean) / static_cast<double>(loads.size()) - 1 : 0;
}

// The tokens of a layer, where their experts are computed and what further replicas would do to
// that. A token's row lies where it is best and, of such ranks, where most tokens' are, as guesses
// will have it.
class LayerTokens {
 public:
  LayerTokens(const LayerRoutes& routes, std::vector<RankSet>& holders, uint32_t ranks)
      : routes_(thin_out(routes, kLayerTokensMax)),
        holders_(holders),
        tokens_of_(routes.experts),
        rank_of_(routes_.picks.size()),
        loads_(ranks),
        saved_by_(ranks) {
    for (size_t token = 0; token < routes_.tokens(); ++token) {
      for (const uint16_t expert : routes_.of(token)) {
        tokens_of_[expert].push_back(static_cast<uint32_t>(token));
      }
      holders_of(routes_.of(token), holders_, scratch_);
      for (RankSet left = saving_owners(scratch_); left != 0; left &= left - 1) {
        saved_by_[static_cast<size_t>(std::countr_zero(left))] += 1;
      }
    }
    for (size_t token = 0; token < routes_.tokens(); ++token) {
      choose(token, loads_, ranks_of(token));
      for (const uint8_t rank : ranks_of(token)) loads_[rank] += 1;
    }
  }

  // Of a token's picks.
  double share(const std::vector<uint64_t>& loads, size_t rank) const {
    return static_cast<double>(loads[rank]) / static_cast<double>(routes_.picks.size());
  }
  const std::vector<uint64_t>& loads() const { return loads_; }  // [ranks] picks
  bool uses(uint32_t expert) const { return !tokens_of_[expert].empty(); }

  struct Outcome {
    double saved = 0;             // copies a token
    std::vector<uint64_t> loads;  // [ranks] picks
  };

  // With `rank` as a further holder of the expert; `keep`: from now on.
  Outcome with(uint32_t expert, uint32_t rank, bool keep) {
    const RankSet before = holders_[expert];
    holders_[expert] |= RankSet{1} << rank;
    Outcome outcome{0, loads_};
    int64_t fewer = 0;
    for (const uint32_t token : tokens_of_[expert]) {
      const std::span<uint8_t> ranks = ranks_of(token);
      chosen_.resize(ranks.size());
      for (const uint8_t old : ranks) outcome.loads[old] -= 1;
      choose(token, outcome.loads, chosen_);
      for (const uint8_t chosen : chosen_) outcome.loads[chosen] += 1;
      fewer += distinct(ranks) - distinct(chosen_);
      if (keep) std::ranges::copy(chosen_, ranks.begin());
    }
    outcome.saved = static_cast<double>(fewer) / static_cast<double>(routes_.tokens());
    if (keep) {
      loads_ = outcome.loads;
    } else {
      holders_[expert] = before;
    }
    return outcome;
  }

 private:
  std::span<uint8_t> ranks_of(size_t token) {
    return std::span(rank_of_).subspan(routes_.begins[token], routes_.of(token).size());
  }

  void choose(size_t token, const std::vector<uint64_t>& loads, std::span<uint8_t> chosen) {
    holders_of(routes_.of(token), holders_, scratch_);
    choose_holders(scratch_, likely_owner(saving_owners(scratch_)), chosen, loads);
  }

  uint32_t likely_owner(RankSet saving) const {
    auto best = static_cast<uint32_t>(std::countr_zero(saving));
    for (RankSet left = saving; left != 0; left &= left - 1) {
      const auto rank = static_cast<uint32_t>(std::countr_zero(left));
      if (saved_by_[rank] > saved_by_[best]) best = rank;
    }
    return best;
  }

  static int distinct(std::span<const uint8_t> ranks) {
    RankSet set = 0;
    for (const uint8_t rank : ranks) set |= RankSet{1} << rank;
    return std::popcount(set);
  }

  const LayerRoutes routes_;
  std::vector<RankSet>& holders_;                 // [experts]
  std::vector<std::vector<uint32_t>> tokens_of_;  // [experts]
  std::vector<uint8_t> rank_of_;                  // [picks]
  std::vector<uint64_t> loads_;                   // [ranks]
  std::vector<uint64_t> saved_by_;                // [ranks] tokens with whose rows there one saves
  std::vector<RankSet> scratch_;
  std::vector<uint8_t> chosen_;
};

class ReplicaSearch {
 public:
  ReplicaSearch(const std::vector<LayerRoutes>& layers, Placement& placement)
      : placement_(placement), loads_(placement.ranks), versions_(layers.size()) {
    for (size_t at = 0; at < layers.size(); ++at) {
      layers_.emplace_back(layers[at], placement.holders[at], placement.ranks);
      count(at, 1);
    }
  }

  void add(ReplicaRoom room) {
    auto [replicas, each] = room;
    std::vector<uint64_t> held(placement_.ranks);
    std::priority_queue<Candidate> best = candidates();
    while (replicas > 0 && !best.empty() && best.top().gain > 0) {
      Candidate replica = best.top();
      best.pop();
      if (held[replica.rank] == each) continue;
      if (replica.version != versions_[replica.layer]) {
        best.push(looked_at(replica));
        continue;
      }
      count(replica.layer, -1);
      layers_[replica.layer].with(replica.expert, replica.rank, true);
      count(replica.layer, 1);
      versions_[replica.layer] += 1;
      held[replica.rank] += 1;
      replicas -= 1;
    }
  }

 private:
  std::priority_queue<Candidate> candidates() {
    std::priority_queue<Candidate> all;
    for (uint32_t at = 0; at < layers_.size(); ++at) {
      for (uint32_t expert = 0; expert < placement_.holders[at].size(); ++expert) {
        if (!layers_[at].uses(expert)) continue;
        for (uint32_t rank = 0; rank < placement_.ranks; ++rank) {
          if ((placement_.holders[at][expert] >> rank & 1) != 0) continue;
          if (placement_.leader_of(rank) != rank) continue;
          all.push(looked_at({.layer = at, .expert = expert, .rank = rank}));
        }
      }
    }
    return all;
  }

  Candidate looked_at(Candidate replica) {
    LayerTokens& layer = layers_[replica.layer];
    const LayerTokens::Outcome outcome = layer.with(replica.expert, replica.rank, false);
    std::vector<double> before(loads_.size()), after(loads_.size()), all = loads_;
    for (size_t rank = 0; rank < loads_.size(); ++rank) {
      before[rank] = layer.share(layer.loads(), rank);
      after[rank] = layer.share(outcome.loads, rank);
      all[rank] += after[rank] - before[rank];
    }
    replica.gain = outcome.saved + kCopiesOfLayer * (unevenness(before) - unevenness(after)) +
                   kCopiesOfAll * (unevenness(loads_) - unevenness(all));
    replica.version = versions_[replica.layer];
    return replica;
  }

  void count(size_t at, double sign) {
    for (size_t rank = 0; rank < loads_.size(); ++rank) {
      const LayerTokens& layer = layers_[at];
      if (layer.loads()[rank] > 0) loads_[rank] += sign * layer.share(layer.loads(), rank);
    }
  }

  Placement& placement_;
  std::deque<LayerTokens> layers_;
  std::vector<double> loads_;       // [ranks] shares of the layers' picks
  std::vector<uint64_t> versions_;  // [layers] replicas added
};

}  // namespace

ReplicaRoom replica_room(const Placement& base, double memory_share) {
  CHECK_THAT(memory_share >= 0 && memory_share <= 64, "{} times the experts", memory_share);
  size_t experts = 0;
  for (const auto& holders : base.holders) experts += holders.size();
  // The share may come from a percentage: 0.1 of 30 are three.
  const double all = std::floor(memory_share * static_cast<double>(experts) + 1e-9);
  const auto replicas = static_cast<uint64_t>(all);
  return {replicas, (replicas + base.ranks - 1) / base.ranks};
}

Placement replicate(const std::vector<LayerRoutes>& layers, Placement base, double memory_share) {
  CHECK(layers.size() == base.holders.size());
  const ReplicaRoom room = replica_room(base, memory_share);
  if (base.ranks > 1) ReplicaSearch(layers, base).add(room);
  return base;
}

}  // namespace switchyard
