#include "experts/dispatch_ladder.h"

#include <algorithm>
#include <array>
#include <bit>
#include <functional>
#include <map>
#include <numeric>

#include "experts/replicas.h"
#include "runtime/base/check.h"
#include "runtime/base/prng.h"
#include "runtime/base/replica_choice.h"

namespace switchyard {
namespace {

// One token of a layer, where the owner of its row is to be chosen.
struct LadderToken {
  uint32_t request = 0;
  size_t layer = 0;
  TokenId token = -1;
  std::span<const RankSet> previous;  // saving_owners() in the layers before, the latest first
};

using OwnerRule = std::function<uint32_t(const LadderToken&)>;

// Copies and work with one placement and one rule.
class RungMeasure {
 public:
  RungMeasure(const RoutingTrace& trace, const Placement& placement, const OwnerRule& rule)
      : trace_(trace),
        placement_(placement),
        rule_(rule),
        loads_(placement.ranks),
        layer_loads_(placement.holders.size(), std::vector<uint64_t>(placement.ranks)) {
    for (const RoutingStep& step : trace.steps) {
      for (size_t token = 0; token < step.tokens.size(); ++token) add(step, token);
    }
  }

  LadderRung rung(std::string name) const {
    const double tokens = std::max(1.0, tokens_);
    LadderRung rung{std::move(name), copies_ / tokens, random_ / tokens, best_ / tokens, 0, 1};
    double layers = 0;
    for (const std::vector<uint64_t>& loads : layer_loads_) {
      if (std::ranges::max(loads) == 0) continue;
      rung.busiest_of_layer += busiest(loads);
      layers += 1;
    }
    rung.busiest_of_layer = layers > 0 ? rung.busiest_of_layer / layers : 1;
    if (layers > 0) rung.busiest_of_all = busiest(loads_);
    return rung;
  }

 private:
  static double busiest(const std::vector<uint64_t>& loads) {
    const auto all = std::accumulate(loads.begin(), loads.end(), uint64_t{0});
    return static_cast<double>(std::ranges::max(loads)) * static_cast<double>(loads.size()) /
           static_cast<double>(all);
  }

  void add(const RoutingStep& step, size_t token) {
    std::array<RankSet, 2> previous{};
    for (size_t at = 0; at < placement_.holders.size(); ++at) {
      holders_.clear();
      for (const RoutedExpert& pick : step.at(trace_.shape, at, token)) {
        holders_.push_back(placement_.holders[at][pick.expert]);
      }
      const RankSet saving = saving_owners(holders_);
      if (!holders_.empty()) {
        const size_t known = previous[0] == 0 ? 0 : previous[1] == 0 ? 1 : 2;
        add_picks({step.request, at, step.tokens[token], std::span(previous).first(known)}, saving);
      }
      previous = {saving, previous[0]};
    }
  }

  void add_picks(const LadderToken& token, RankSet saving) {
    const uint32_t owner = rule_(token);
    chosen_.resize(holders_.size());
    choose_holders(holders_, owner, chosen_, loads_);
    RankSet elsewhere = 0;
    for (const uint8_t rank : chosen_) {
      loads_[rank] += 1;
      layer_loads_[token.layer][rank] += 1;
      if (rank != owner) elsewhere |= RankSet{1} << rank;
    }
    const uint32_t least = copies_needed(holders_, static_cast<uint32_t>(std::countr_zero(saving)));
    copies_ += std::popcount(elsewhere);
    best_ += least;
    random_ += least + 1 - static_cast<double>(std::popcount(saving)) / placement_.ranks;
    tokens_ += 1;
  }

  const RoutingTrace& trace_;
  const Placement& placement_;
  const OwnerRule& rule_;
  std::vector<uint64_t> loads_;                     // [ranks]
  std::vector<std::vector<uint64_t>> layer_loads_;  // [layers][ranks]
  double tokens_ = 0, copies_ = 0, random_ = 0, best_ = 0;
  std::vector<RankSet> holders_;
  std::vector<uint8_t> chosen_;
};

// One copy for every pick that is not on the owner, of each owner alike or of the best.
LadderRung all_to_all(const RoutingTrace& trace, const Placement& placement) {
  double tokens = 0, picks = 0, best = 0;
  std::vector<uint32_t> on(placement.ranks);
  for (const RoutingStep& step : trace.steps) {
    for (size_t at = 0; at < placement.holders.size(); ++at) {
      for (size_t token = 0; token < step.tokens.size(); ++token) {
        const auto routed = step.at(trace.shape, at, token);
        if (routed.empty()) continue;
        std::ranges::fill(on, 0);
        for (const RoutedExpert& pick : routed) {
          on[static_cast<size_t>(std::countr_zero(placement.holders[at][pick.expert]))] += 1;
        }
        tokens += 1;
        picks += static_cast<double>(routed.size());
        best += static_cast<double>(routed.size()) - std::ranges::max(on);
      }
    }
  }
  tokens = std::max(1.0, tokens);
  const double random = picks / tokens * (1 - 1.0 / placement.ranks);
  return {"all-to-all", random, random, best / tokens, 1, 1};
}

bool has_tokens(const RoutingTrace& trace) {
  const auto known = [](TokenId token) { return token >= 0; };
  return std::ranges::any_of(trace.steps, [&](const RoutingStep& step) {
    return std::ranges::any_of(step.tokens, known);
  });
}

// [requests] by their prompts; by what they decode where no prompt was recorded.
std::map<uint32_t, uint32_t> homes(const RoutingTrace& trace, const OwnerTables& tables) {
  std::map<uint32_t, std::vector<TokenId>> prompts, decoded;
  for (const RoutingStep& step : trace.steps) {
    auto& tokens =
        step.phase == TracePhase::kPrefill ? prompts[step.request] : decoded[step.request];
    tokens.insert(tokens.end(), step.tokens.begin(), step.tokens.end());
  }
  prompts.merge(decoded);
  std::map<uint32_t, uint32_t> homes;
  for (const auto& [request, tokens] : prompts) homes[request] = tables.home(tokens);
  return homes;
}

void append(RoutingTrace& to, const RoutingStep& step, size_t first, size_t count) {
  if (count == 0) return;
  RoutingStep part;
  part.request = step.request;
  part.phase = step.phase;
  const auto tokens = std::span(step.tokens).subspan(first, count);
  part.tokens.assign(tokens.begin(), tokens.end());
  for (size_t at = 0; at < to.shape.layers.size(); ++at) {
    const size_t begin = (at * step.tokens.size() + first) * to.shape.top_k;
    const auto rows = std::span(step.routed).subspan(begin, count * to.shape.top_k);
    part.routed.insert(part.routed.end(), rows.begin(), rows.end());
  }
  to.steps.push_back(std::move(part));
}

}  // namespace

LadderWorld learn_world(const RoutingTrace& trace, const ExpertOrder& order, uint32_t ranks,
                        double memory_share) {
  LadderWorld world;
  world.plain = place_by_order(plain_order(order.size(), trace.shape.experts), ranks);
  world.grouped = place_by_order(order, ranks);
  world.replicated = replicate(routes_of(trace), world.grouped, memory_share);
  world.tables = OwnerTables::learn(trace, world.grouped);
  world.replica_tables = OwnerTables::learn(trace, world.replicated);
  return world;
}

std::vector<LadderRung> measure_ladder(const RoutingTrace& trace, const LadderWorld& world) {
  const uint32_t ranks = world.plain.ranks;
  Prng prng(1);
  const auto measure = [&](const char* name, const Placement& placement, const OwnerRule& rule) {
    return RungMeasure(trace, placement, rule).rung(name);
  };
  // What a random owner costs is known without drawing one; only the work must be put somewhere.
  const auto by_chance = [&](const char* name, const Placement& placement) {
    LadderRung rung = measure(name, placement, [&](const LadderToken&) {
      return static_cast<uint32_t>(prng.below(ranks));
    });
    rung.copies = rung.random_owner;
    return rung;
  };
  const auto by_both = [](const OwnerTables& tables) {
    return [known = &tables](const LadderToken& at) -> uint32_t {
      return known->owner(at.layer, at.token, at.previous).rank;
    };
  };
  LadderRung deduplicated = by_chance("de-duplicated", world.plain);
  LadderRung split = all_to_all(trace, world.plain);
  split.busiest_of_layer = deduplicated.busiest_of_layer;
  split.busiest_of_all = deduplicated.busiest_of_all;
  const double others = ranks - 1;
  std::vector<LadderRung> rungs = {{"all-gather", others, others, others,
                                    deduplicated.busiest_of_layer, deduplicated.busiest_of_all}};
  rungs.push_back(split);
  rungs.push_back(deduplicated);
  rungs.push_back(by_chance("grouped", world.grouped));
  if (has_tokens(trace)) {
    rungs.push_back(measure("token table", world.grouped, [&](const LadderToken& at) -> uint32_t {
      return world.tables.owner(at.layer, at.token, {}).rank;
    }));
  }
  rungs.push_back(measure("previous ranks", world.grouped, by_both(world.tables)));
  rungs.push_back(measure("replicas", world.replicated, by_both(world.replica_tables)));
  if (has_tokens(trace)) {
    const auto home_of = homes(trace, world.replica_tables);
    rungs.push_back(measure("one home", world.replicated,
                            [&](const LadderToken& at) { return home_of.at(at.request); }));
  }
  return rungs;
}

SplitTrace split_trace(const RoutingTrace& trace, double share) {
  CHECK(share >= 0 && share <= 1);
  SplitTrace split{{trace.shape, trace.model, {}}, {trace.shape, trace.model, {}}};
  size_t tokens = 0;
  for (const RoutingStep& step : trace.steps) tokens += step.tokens.size();
  auto left = static_cast<size_t>(share * static_cast<double>(tokens));
  for (const RoutingStep& step : trace.steps) {
    const size_t here = std::min(left, step.tokens.size());
    append(split.first, step, 0, here);
    append(split.rest, step, here, step.tokens.size() - here);
    left -= here;
  }
  return split;
}

}  // namespace switchyard
