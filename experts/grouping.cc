#include "experts/grouping.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "runtime/base/check.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

constexpr double kMovesPerExpert = 1500;
constexpr double kHeatAtFirst = 0.02;  // of the tokens: how much worse a move may be
constexpr double kHeatAtLast = 0.0001;
constexpr double kBalanceWeight = 0.5;  // tokens' worth of parts for a squared imbalance

// Exchanges experts between parts, better or, while it is hot, sometimes worse.
class Annealing {
 public:
  Annealing(const LayerRoutes& routes, std::vector<uint32_t> part_of, uint32_t parts)
      : routes_(routes),
        parts_(parts),
        part_of_(std::move(part_of)),
        tokens_of_(routes.experts),
        counts_(routes.tokens() * parts),
        loads_(parts) {
    for (size_t token = 0; token < routes.tokens(); ++token) {
      for (const uint16_t expert : routes.of(token)) {
        tokens_of_[expert].push_back(static_cast<uint32_t>(token));
        counts_[token * parts + part_of_[expert]] += 1;
        loads_[part_of_[expert]] += 1;
      }
    }
  }

  std::vector<uint32_t> run(Prng& prng) {
    const auto tokens = static_cast<double>(routes_.tokens());
    const auto moves = static_cast<uint64_t>(kMovesPerExpert * routes_.experts);
    for (uint64_t move = 0; move < moves; ++move) {
      const double cooled = static_cast<double>(move) / static_cast<double>(moves);
      const double heat = tokens * kHeatAtFirst * std::pow(kHeatAtLast / kHeatAtFirst, cooled);
      const auto a = static_cast<uint32_t>(prng.below(routes_.experts));
      const auto b = static_cast<uint32_t>(prng.below(routes_.experts));
      if (part_of_[a] == part_of_[b]) continue;
      const double worse = cost_of_exchange(a, b);
      if (worse <= 0 || prng.uniform() < std::exp(-worse / heat)) exchange(a, b);
    }
    return std::move(part_of_);
  }

 private:
  bool chose(uint32_t token, uint32_t expert) const {
    return std::ranges::find(routes_.of(token), expert) != routes_.of(token).end();
  }

  // How many parts more tokens touch when those of `leaving` that did not choose `other` go from
  // its part to `to`.
  int64_t more_parts(uint32_t leaving, uint32_t other, uint32_t to) const {
    int64_t more = 0;
    for (const uint32_t token : tokens_of_[leaving]) {
      const uint16_t* counts = &counts_[size_t{token} * parts_];
      const bool last_there = counts[part_of_[leaving]] == 1, first_here = counts[to] == 0;
      if (last_there == first_here || chose(token, other)) continue;
      more += first_here ? 1 : -1;
    }
    return more;
  }

  double unbalance(double load) const {
    const double mean = static_cast<double>(routes_.picks.size()) / parts_;
    const double over = load / mean - 1;
    return kBalanceWeight * static_cast<double>(routes_.tokens()) * over * over / parts_;
  }

  double cost_of_exchange(uint32_t a, uint32_t b) const {
    const uint32_t from = part_of_[a], to = part_of_[b];
    const double parts = static_cast<double>(more_parts(a, b, to) + more_parts(b, a, from));
    const double shift =
        static_cast<double>(tokens_of_[b].size()) - static_cast<double>(tokens_of_[a].size());
    return parts + unbalance(loads_[from] + shift) - unbalance(loads_[from]) +
           unbalance(loads_[to] - shift) - unbalance(loads_[to]);
  }

  void move(uint32_t expert, uint32_t to) {
    for (const uint32_t token : tokens_of_[expert]) {
      counts_[size_t{token} * parts_ + part_of_[expert]] -= 1;
      counts_[size_t{token} * parts_ + to] += 1;
    }
    const auto load = static_cast<double>(tokens_of_[expert].size());
    loads_[part_of_[expert]] -= load;
    loads_[to] += load;
    part_of_[expert] = to;
  }

  void exchange(uint32_t a, uint32_t b) {
    const uint32_t from = part_of_[a], to = part_of_[b];
    move(a, to);
    move(b, from);
  }

  const LayerRoutes& routes_;
  const uint32_t parts_;
  std::vector<uint32_t> part_of_;                 // [experts]
  std::vector<std::vector<uint32_t>> tokens_of_;  // [experts]
  std::vector<uint16_t> counts_;                  // [tokens][parts] experts chosen there
  std::vector<double> loads_;                     // [parts] picks
};

}  // namespace

LayerRoutes routes_of(const RoutingTrace& trace, size_t at) {
  LayerRoutes routes{.experts = trace.shape.experts};
  for (const RoutingStep& step : trace.steps) {
    for (size_t token = 0; token < step.tokens.size(); ++token) {
      const auto routed = step.at(trace.shape, at, token);
      for (const RoutedExpert& expert : routed) routes.picks.push_back(expert.expert);
      if (!routed.empty()) routes.end_token();
    }
  }
  return routes;
}

std::vector<uint32_t> group_experts(const LayerRoutes& routes, uint32_t parts, uint64_t seed) {
  CHECK(parts >= 1 && routes.experts >= 1);
  Prng prng(seed);
  std::vector<uint32_t> part_of(routes.experts);
  for (uint32_t expert = 0; expert < routes.experts; ++expert) {
    part_of[expert] = static_cast<uint32_t>(uint64_t{expert} * parts / routes.experts);
  }
  if (parts == 1 || routes.tokens() == 0) return part_of;
  return Annealing(routes, std::move(part_of), parts).run(prng);
}

namespace {

// The routes among `members` alone, numbered by their places there; tokens with fewer than two of
// them cut nothing.
LayerRoutes among(const LayerRoutes& routes, std::span<const uint16_t> members) {
  std::vector<uint16_t> place(routes.experts, UINT16_MAX);
  for (size_t i = 0; i < members.size(); ++i) place[members[i]] = static_cast<uint16_t>(i);
  LayerRoutes part{.experts = static_cast<uint32_t>(members.size())};
  for (size_t token = 0; token < routes.tokens(); ++token) {
    for (const uint16_t expert : routes.of(token)) {
      if (place[expert] != UINT16_MAX) part.picks.push_back(place[expert]);
    }
    if (part.picks.size() > part.begins.back()) part.end_token();
  }
  return part;
}

// Puts `members` into an order: bisected, each half likewise, down to one rank's.
void bisect(const LayerRoutes& routes, std::span<uint16_t> members, uint32_t ranks, uint64_t seed) {
  if (ranks < 2 || members.size() < 2) return;
  const std::vector<uint32_t> half = group_experts(among(routes, members), 2, seed);
  std::vector<uint16_t> sorted;
  for (const uint32_t wanted : {0U, 1U}) {
    for (size_t i = 0; i < members.size(); ++i) {
      if (half[i] == wanted) sorted.push_back(members[i]);
    }
  }
  std::ranges::copy(sorted, members.begin());
  const auto first = static_cast<size_t>(std::ranges::count(half, 0U));
  bisect(routes, members.first(first), ranks / 2, seed + 1);
  bisect(routes, members.subspan(first), ranks / 2, seed + 2);
}

// Exchanges the halves of stretches of a layer's order, which changes what lies together nowhere,
// while that evens out what the ranks do in all layers.
class Evening {
 public:
  Evening(const std::vector<LayerRoutes>& layers, ExpertOrder& order, uint32_t ranks)
      : order_(order), picks_(layers.size()), loads_(ranks) {
    for (size_t at = 0; at < layers.size(); ++at) {
      picks_[at].resize(layers[at].experts);
      for (const uint16_t expert : layers[at].picks) picks_[at][expert] += 1;
    }
    for (size_t at = 0; at < layers.size(); ++at) add(at, 1);
  }

  void run() {
    for (bool better = true; better;) {
      better = false;
      for (size_t at = 0; at < order_.size(); ++at) better |= improve(at, order_[at]);
    }
  }

 private:
  void add(size_t at, double sign) {
    const std::vector<uint16_t>& order = order_[at];
    for (size_t place = 0; place < order.size(); ++place) {
      loads_[place * loads_.size() / order.size()] += sign * picks_[at][order[place]];
    }
  }

  double unevenness() const {
    return std::inner_product(loads_.begin(), loads_.end(), loads_.begin(), 0.0);
  }

  // Tries the halves of `members`, a stretch of order_[at], and of each half of more than one
  // rank's.
  bool improve(size_t at, std::span<uint16_t> members) {
    const size_t half = members.size() / 2;
    if (members.size() % 2 != 0 || members.size() * loads_.size() <= order_[at].size())
      return false;
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

}  // namespace

ExpertOrder group_order(const std::vector<LayerRoutes>& layers, uint32_t world, uint64_t seed) {
  const uint32_t ranks = std::bit_ceil(world);
  ExpertOrder order;
  for (const LayerRoutes& routes : layers) {
    order.emplace_back(routes.experts);
    std::iota(order.back().begin(), order.back().end(), uint16_t{0});
    bisect(routes, order.back(), ranks, seed);
  }
  Evening(layers, order, ranks).run();
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
