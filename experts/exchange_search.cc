#include "experts/exchange_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

// How many of a token's picks each part has, for every number of parts that counts.
class TouchedParts {
 public:
  TouchedParts(const LayerRoutes& routes, const std::vector<uint32_t>& cuts)
      : cuts_(cuts.size()), places_(cuts.size() * cuts.back()) {
    const uint32_t parts = cuts.back();
    for (size_t cut = 0; cut < cuts_; ++cut) {
      CHECK_THAT(parts % cuts[cut] == 0, "{} parts among {}", cuts[cut], parts);
      for (uint32_t part = 0; part < parts; ++part) {
        places_[part * cuts_ + cut] = width_ + part / (parts / cuts[cut]);
      }
      width_ += cuts[cut];
    }
    counts_.resize(routes.tokens() * width_);
  }

  size_t cuts() const { return cuts_; }
  // Where a part's counts are among a token's, [cuts].
  const uint32_t* places(uint32_t part) const { return &places_[part * cuts_]; }
  const uint8_t* of(size_t token) const { return &counts_[token * width_]; }

  void move(size_t token, uint32_t from, uint32_t to) {
    uint8_t* counts = &counts_[token * width_];
    for (size_t cut = 0; cut < cuts_; ++cut) {
      counts[places(from)[cut]] -= 1;
      counts[places(to)[cut]] += 1;
    }
  }

  void add(size_t token, uint32_t part) {
    for (size_t cut = 0; cut < cuts_; ++cut) counts_[token * width_ + places(part)[cut]] += 1;
  }

 private:
  const size_t cuts_;
  uint32_t width_ = 0;
  std::vector<uint32_t> places_;  // [parts][cuts]
  std::vector<uint8_t> counts_;   // [tokens][width_]; a token has fewer than 256 picks
};

class ExchangeSearch {
 public:
  ExchangeSearch(const LayerRoutes& routes, std::vector<uint32_t> part_of,
                 const ExchangeSettings& settings)
      : routes_(routes),
        settings_(settings),
        parts_(settings.cuts.back()),
        part_of_(std::move(part_of)),
        tokens_of_(routes.experts),
        touched_(routes, settings.cuts),
        loads_(parts_) {
    CHECK(settings.others.empty() || settings.others.size() == parts_);
    for (size_t token = 0; token < routes.tokens(); ++token) {
      CHECK(routes.of(token).size() < 256);
      for (const uint16_t expert : routes.of(token)) {
        tokens_of_[expert].push_back(static_cast<uint32_t>(token));
        touched_.add(token, part_of_[expert]);
        loads_[part_of_[expert]] += 1;
      }
    }
    mean_ = static_cast<double>(routes.picks.size()) / parts_;
    mean_all_ = mean_ + std::accumulate(settings.others.begin(), settings.others.end(), 0.0) /
                            static_cast<double>(parts_);
  }

  std::vector<uint32_t> run(Prng& prng) {
    const auto tokens = static_cast<double>(routes_.tokens());
    const auto moves = static_cast<uint64_t>(settings_.moves_per_expert * routes_.experts);
    const double cooling = settings_.heat_last / settings_.heat_first;
    for (uint64_t move = 0; move < moves; ++move) {
      const double cooled = static_cast<double>(move) / static_cast<double>(moves);
      const double heat = tokens * settings_.heat_first * std::pow(cooling, cooled);
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
    const auto picks = routes_.of(token);
    return std::find(picks.begin(), picks.end(), expert) != picks.end();
  }

  // How many parts more tokens touch when those of `leaving` that did not choose `other` go from
  // its part to that of `other`.
  int64_t more_parts(uint32_t leaving, uint32_t other) const {
    const uint32_t* from = touched_.places(part_of_[leaving]);
    const uint32_t* to = touched_.places(part_of_[other]);
    const size_t cuts = touched_.cuts();
    size_t first = 0;  // coarser parts have both and see no change
    while (from[first] == to[first]) ++first;
    int64_t more = 0;
    for (const uint32_t token : tokens_of_[leaving]) {
      const uint8_t* counts = touched_.of(token);
      int here = 0;
      for (size_t cut = first; cut < cuts; ++cut) {
        here += (counts[to[cut]] == 0) - (counts[from[cut]] == 1);
      }
      if (here != 0 && !chose(token, other)) more += here;
    }
    return more;
  }

  double unbalance(uint32_t part, double shift) const {
    const double share = static_cast<double>(routes_.tokens()) / parts_;
    const double load = loads_[part] + shift, over = load / mean_ - 1;
    const double cost = settings_.balance * share * over * over;
    if (settings_.others.empty()) return cost;
    const double over_all = (load + settings_.others[part]) / mean_all_ - 1;
    return cost + settings_.balance_all * share * over_all * over_all;
  }

  double cost_of_exchange(uint32_t a, uint32_t b) const {
    const uint32_t from = part_of_[a], to = part_of_[b];
    const auto parts = static_cast<double>(more_parts(a, b) + more_parts(b, a));
    const double shift =
        static_cast<double>(tokens_of_[b].size()) - static_cast<double>(tokens_of_[a].size());
    return parts + unbalance(from, shift) - unbalance(from, 0) + unbalance(to, -shift) -
           unbalance(to, 0);
  }

  void move(uint32_t expert, uint32_t to) {
    for (const uint32_t token : tokens_of_[expert]) touched_.move(token, part_of_[expert], to);
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
  const ExchangeSettings& settings_;
  const uint32_t parts_;
  std::vector<uint32_t> part_of_;                 // [experts]
  std::vector<std::vector<uint32_t>> tokens_of_;  // [experts]
  TouchedParts touched_;
  std::vector<double> loads_;       // [parts] picks
  double mean_ = 0, mean_all_ = 0;  // of a part's picks, here and in all layers
};

}  // namespace

std::vector<uint32_t> search_exchanges(const LayerRoutes& routes, std::vector<uint32_t> part_of,
                                       const ExchangeSettings& settings, Prng& prng) {
  CHECK(!settings.cuts.empty() && part_of.size() == routes.experts);
  if (settings.cuts.back() == 1 || routes.tokens() == 0) return part_of;
  return ExchangeSearch(routes, std::move(part_of), settings).run(prng);
}

}  // namespace switchyard
