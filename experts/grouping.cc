#include "experts/grouping.h"

#include <algorithm>
#include <bit>
#include <numeric>

#include "experts/exchange_search.h"
#include "runtime/base/check.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

constexpr size_t kTokensMax = 1 << 15;  // more do not find better parts, only later
constexpr double kMovesPerExpert = 1500;
constexpr double kHeatAtFirst = 0.02;
constexpr double kHeatAtLast = 0.0001;
constexpr double kBalance = 0.5;  // tokens' worth of parts for a squared imbalance
constexpr int kEveningKicks = 100;
// When the layers are joined, from about as hot as moves between good orders are.
constexpr int kRoundsJoined = 2;
constexpr double kMovesJoined = 300;
constexpr double kHeatJoined = 0.003;
constexpr double kBalanceJoined = 30;

// Parts of a layer's places: equal stretches.
std::vector<uint32_t> stretches(uint32_t experts, uint32_t parts) {
  std::vector<uint32_t> part_of(experts);
  for (uint32_t expert = 0; expert < experts; ++expert) {
    part_of[expert] = static_cast<uint32_t>(uint64_t{expert} * parts / experts);
  }
  return part_of;
}

ExchangeSettings settings_for(std::vector<uint32_t> cuts) {
  return {.cuts = std::move(cuts),
          .moves_per_expert = kMovesPerExpert,
          .heat_first = kHeatAtFirst,
          .heat_last = kHeatAtLast,
          .balance = kBalance};
}

// The experts by their parts.
std::vector<uint16_t> order_by(std::span<const uint32_t> part_of) {
  std::vector<uint16_t> order(part_of.size());
  std::iota(order.begin(), order.end(), uint16_t{0});
  std::ranges::stable_sort(order, {}, [&](uint16_t expert) { return part_of[expert]; });
  return order;
}

// Exchanges the halves of stretches of a layer's order, which changes what lies together nowhere,
// while that evens out what the ranks do in all layers.
class Evening {
 public:
  Evening(const std::vector<LayerRoutes>& layers, ExpertOrder& order, uint32_t ranks)
      : order_(order), picks_(picks_of(layers)), loads_(ranks) {
    recount();
  }

  void run(Prng& prng) {
    descend();
    for (int kick = 0; kick < kEveningKicks; ++kick) {
      const ExpertOrder before = order_;
      const std::vector<double> loads = loads_;
      const double unevenness_before = unevenness();
      for (std::vector<uint16_t>& layer : order_) disturb(layer, prng);
      recount();
      descend();
      if (unevenness() < unevenness_before) continue;
      order_ = before;
      loads_ = loads;
    }
  }

 private:
  void add(size_t at, double sign) {
    const std::vector<uint16_t>& order = order_[at];
    for (size_t place = 0; place < order.size(); ++place) {
      loads_[place * loads_.size() / order.size()] += sign * picks_[at][order[place]];
    }
  }

  void recount() {
    std::ranges::fill(loads_, 0);
    for (size_t at = 0; at < order_.size(); ++at) add(at, 1);
  }

  void descend() {
    for (bool better = true; better;) {
      better = false;
      for (size_t at = 0; at < order_.size(); ++at) better |= improve(at, order_[at]);
    }
  }

  // Exchanges the halves of about every eighth stretch.
  void disturb(std::span<uint16_t> members, Prng& prng) {
    const size_t half = members.size() / 2;
    if (!divisible(members)) return;
    if (prng.below(8) == 0) std::ranges::swap_ranges(members.first(half), members.subspan(half));
    disturb(members.first(half), prng);
    disturb(members.subspan(half), prng);
  }

  // Into halves that are whole ranks'.
  bool divisible(std::span<const uint16_t> members) const {
    const size_t experts = order_.front().size();
    return members.size() % 2 == 0 && members.size() * loads_.size() > experts;
  }

  double unevenness() const {
    return std::inner_product(loads_.begin(), loads_.end(), loads_.begin(), 0.0);
  }

  // Tries the halves of `members`, a stretch of order_[at], and of each half of more than one
  // rank's.
  bool improve(size_t at, std::span<uint16_t> members) {
    const size_t half = members.size() / 2;
    if (!divisible(members)) return false;
    const double before = unevenness();
    add(at, -1);
    std::ranges::swap_ranges(members.first(half), members.subspan(half));
    add(at, 1);
    const bool better = unevenness() < before;
    if (!better) {
      add(at, -1);
      std::ranges::swap_ranges(members.first(half), members.subspan(half));
      add(at, 1);
    }
    const bool left = improve(at, members.first(half)), right = improve(at, members.subspan(half));
    return better || left || right;
  }

  ExpertOrder& order_;
  std::vector<std::vector<double>> picks_;  // [layers][experts]
  std::vector<double> loads_;               // [ranks] picks of all layers
};

// Once more over every layer, now that it is known what the ranks do in the others.
void join_layers(const std::vector<LayerRoutes>& layers, ExchangeSettings settings,
                 ExpertOrder& order, Prng& prng) {
  const uint32_t ranks = settings.cuts.back();
  settings.moves_per_expert = kMovesJoined;
  settings.heat_first = kHeatJoined;
  settings.balance_all = kBalanceJoined;
  const std::vector<std::vector<double>> picks = picks_of(layers);
  std::vector<double> loads(ranks);
  const auto add = [&](size_t at, double sign) {
    const std::vector<uint32_t> rank_of = ranks_of(order[at], ranks);
    for (size_t expert = 0; expert < rank_of.size(); ++expert) {
      loads[rank_of[expert]] += sign * picks[at][expert];
    }
  };
  for (size_t at = 0; at < layers.size(); ++at) add(at, 1);
  for (int round = 0; round < kRoundsJoined; ++round) {
    for (size_t at = 0; at < layers.size(); ++at) {
      add(at, -1);
      settings.others = loads;
      order[at] =
          order_by(search_exchanges(layers[at], ranks_of(order[at], ranks), settings, prng));
      add(at, 1);
    }
  }
}

}  // namespace

std::vector<uint32_t> group_experts(const LayerRoutes& routes, uint32_t parts, uint64_t seed) {
  CHECK(parts >= 1 && routes.experts >= 1);
  Prng prng(seed);
  return search_exchanges(thin_out(routes, kTokensMax), stretches(routes.experts, parts),
                          settings_for({parts}), prng);
}

ExpertOrder group_order(const std::vector<LayerRoutes>& layers, uint32_t world, uint64_t seed) {
  const uint32_t ranks = std::bit_ceil(world);
  std::vector<uint32_t> cuts;
  for (uint32_t parts = 2; parts <= ranks; parts *= 2) cuts.push_back(parts);
  if (cuts.empty()) cuts.push_back(1);
  const ExchangeSettings settings = settings_for(cuts);
  Prng prng(seed);
  std::vector<LayerRoutes> thin;
  ExpertOrder order;
  for (const LayerRoutes& routes : layers) {
    thin.push_back(thin_out(routes, kTokensMax));
    order.push_back(
        order_by(search_exchanges(thin.back(), stretches(routes.experts, ranks), settings, prng)));
  }
  Evening(thin, order, ranks).run(prng);
  join_layers(thin, settings, order, prng);
  return order;
}

std::vector<uint32_t> ranks_of(std::span<const uint16_t> order, uint32_t world) {
  std::vector<uint32_t> ranks(order.size());
  for (size_t place = 0; place < order.size(); ++place) {
    ranks[order[place]] = static_cast<uint32_t>(place * world / order.size());
  }
  return ranks;
}

double parts_per_token(const LayerRoutes& routes, std::span<const uint32_t> part_of) {
  uint64_t touched = 0;
  std::vector<uint32_t> parts;
  for (size_t token = 0; token < routes.tokens(); ++token) {
    parts.clear();
    for (const uint16_t expert : routes.of(token)) parts.push_back(part_of[expert]);
    std::ranges::sort(parts);
    touched += static_cast<uint64_t>(std::unique(parts.begin(), parts.end()) - parts.begin());
  }
  return routes.tokens() > 0 ? static_cast<double>(touched) / static_cast<double>(routes.tokens())
                             : 0;
}

double imbalance(const LayerRoutes& routes, std::span<const uint32_t> part_of, uint32_t parts) {
  std::vector<uint64_t> loads(parts);
  for (const uint16_t expert : routes.picks) loads[part_of[expert]] += 1;
  if (routes.picks.empty()) return 1;
  return static_cast<double>(std::ranges::max(loads)) * parts /
         static_cast<double>(routes.picks.size());
}

}  // namespace switchyard
