// How owner tables are learned: counting, and what is kept of it.

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>
#include <utility>

#include "experts/owner_hash.h"
#include "experts/owner_tables.h"
#include "experts/rank_counts.h"
#include "experts/replicas.h"
#include "runtime/base/check.h"
#include "runtime/base/replica_choice.h"

namespace switchyard {
namespace {

constexpr double kShareKnown =
    0.8;  // of the trace, while it is learned how far counts are believed
constexpr uint32_t kSeenOfSets = 3;    // rarer ones say hardly more than their part does
constexpr double kShareOfRows = 0.66;  // of the bytes

// Numbers different values by their frequency, the most frequent first. `nothing` gets none.
template <class Value>
struct Numbering {
  std::vector<uint32_t> entry_of;  // [values given]
  std::vector<Value> values;       // [entries]

  Numbering(const std::vector<Value>& given, Value nothing) : entry_of(given.size()) {
    std::vector<Value> sorted = given;
    std::ranges::sort(sorted);
    std::vector<std::pair<int64_t, Value>> runs;  // how often (negative), which
    for (const Value& value : sorted) {
      if (value == nothing) continue;
      if (runs.empty() || runs.back().second != value) runs.emplace_back(0, value);
      runs.back().first -= 1;
    }
    std::vector<std::pair<Value, uint32_t>> places;
    std::ranges::sort(runs);
    for (const auto& run : runs) {
      places.emplace_back(run.second, static_cast<uint32_t>(values.size()));
      values.push_back(run.second);
    }
    std::ranges::sort(places);
    for (size_t i = 0; i < given.size(); ++i) {
      const auto at = std::ranges::lower_bound(places, std::pair(given[i], uint32_t{0}));
      entry_of[i] = given[i] == nothing ? RankCounts::kUnknown : at->second;
    }
  }
};

uint64_t slots_for(uint64_t entries) { return std::bit_ceil(2 * entries + 1); }

// The most entries, `wanted` or fewer, that fit.
uint64_t fitting(uint64_t wanted, uint64_t entry_bytes, uint64_t slot_bytes, uint64_t bytes_max) {
  while (wanted > 0 && wanted * entry_bytes + slots_for(wanted) * slot_bytes > bytes_max) {
    wanted -= (wanted + 31) / 32;
  }
  return wanted;
}

}  // namespace

class OwnerLearner {
 public:
  OwnerLearner(const RoutingTrace& trace, const Placement& placement, uint64_t bytes_max)
      : ranks_(placement.ranks), bytes_max_(bytes_max), tokens_(tokens_of(trace), TokenId{-1}) {
    tables_.ranks_ = ranks_;
    for (size_t at = 0; at < trace.shape.layers.size(); ++at) {
      saving_.push_back(saving_of(trace, at, placement.holders[at]));
    }
    known_ = static_cast<size_t>(kShareKnown * static_cast<double>(tokens_.entry_of.size()));
  }

  OwnerTables run() {
    make_rows();
    for (size_t at = 0; at < saving_.size(); ++at) {
      learn_tokens(at);
      if (at == 0) continue;
      learn_sets(at);
      learn_both(at);
    }
    finish_home();
    keep_sets();
    return std::move(tables_);
  }

 private:
  struct Learned {
    uint32_t seen = 0;
    uint64_t hash = 0;
    OwnerGuess guess;
  };

  static std::vector<TokenId> tokens_of(const RoutingTrace& trace) {
    std::vector<TokenId> tokens;
    for (const RoutingStep& step : trace.steps) {
      for (const TokenId token : step.tokens) tokens.push_back(std::max(token, TokenId{-1}));
    }
    return tokens;
  }

  static std::vector<RankSet> saving_of(const RoutingTrace& trace, size_t at,
                                        const std::vector<RankSet>& layer) {
    std::vector<RankSet> saving, holders;
    for (const RoutingStep& step : trace.steps) {
      for (size_t token = 0; token < step.tokens.size(); ++token) {
        holders.clear();
        for (const RoutedExpert& pick : step.at(trace.shape, at, token)) {
          holders.push_back(layer[pick.expert]);
        }
        saving.push_back(saving_owners(holders));
      }
    }
    return saving;
  }

  // Nothing but that the token is one of the layer's.
  RankCounts usual() const { return {std::vector<uint32_t>(tokens_.entry_of.size()), 1, ranks_}; }

  static OwnerGuess guess_of(const RankChances::Best& best) {
    return {static_cast<uint8_t>(best.rank), static_cast<float>(best.chance)};
  }

  void make_rows() {
    const size_t layers = saving_.size();
    const auto bytes = static_cast<uint64_t>(kShareOfRows * static_cast<double>(bytes_max_));
    rows_ = fitting(tokens_.values.size(), layers * sizeof(OwnerTables::Packed) + ranks_,
                    sizeof(TokenId) + sizeof(uint32_t), bytes);
    tables_.usual_.resize(layers);
    tables_.by_token_.resize(rows_ * layers);
    home_.resize((rows_ + 1) * ranks_);
    if (rows_ == 0) return;
    tables_.keys_.assign(slots_for(rows_), -1);
    tables_.rows_.resize(slots_for(rows_));
    for (uint32_t row = 0; row < rows_; ++row) {
      size_t slot = hash_token(tokens_.values[row]) & (tables_.keys_.size() - 1);
      while (tables_.keys_[slot] >= 0) slot = (slot + 1) & (tables_.keys_.size() - 1);
      tables_.keys_[slot] = tokens_.values[row];
      tables_.rows_[slot] = row;
    }
  }

  void learn_tokens(size_t at) {
    const auto entries = static_cast<uint32_t>(tokens_.values.size());
    RankChances chances({usual(), {tokens_.entry_of, entries, ranks_}}, ranks_);
    chances.learn(saving_[at], known_);
    const auto add_home = [&](size_t row, std::span<const double> of) {
      for (uint32_t rank = 0; rank < ranks_; ++rank) home_[row * ranks_ + rank] += of[rank];
    };
    for (uint32_t row = 0; row < rows_; ++row) {
      const uint32_t both[] = {0, row};
      const OwnerGuess guess = guess_of(chances.of_entries(both));
      // A layer that was never recorded for the token says nothing of it.
      if (chances.kind(1).seen(row) > 0) {
        tables_.by_token_[row * saving_.size() + at] = OwnerTables::Packed(guess);
      }
      add_home(row, chances.chances());
    }
    kinds_.assign(tokens_.entry_of.size(), RankCounts::kUnknown);
    for (size_t token = 0; token < kinds_.size(); ++token) {
      const uint32_t entry = tokens_.entry_of[token];
      if (entry == RankCounts::kUnknown || chances.kind(1).seen(entry) < 2) continue;
      const OwnerGuess guess = guess_of(chances.of_token_left_out(token, saving_[at][token]));
      kinds_[token] = kind_of(guess.rank, guess.confidence);
    }
    const uint32_t nothing[] = {0};
    tables_.usual_[at] = OwnerTables::Packed(guess_of(chances.of_entries(nothing)));
    add_home(rows_, chances.chances());
  }

  void learn_sets(size_t at) {
    using Sets = std::pair<RankSet, RankSet>;
    const size_t tokens = tokens_.entry_of.size();
    std::vector<Sets> latest(tokens), both(tokens);
    for (size_t token = 0; token < tokens; ++token) {
      latest[token].first = saving_[at - 1][token];
      if (at < 2 || latest[token].first == 0 || saving_[at - 2][token] == 0) continue;
      both[token] = {saving_[at - 1][token], saving_[at - 2][token]};
    }
    const Numbering<Sets> one(latest, {}), two(both, {});
    const auto counts = [&](const Numbering<Sets>& sets) {
      return RankCounts(sets.entry_of, static_cast<uint32_t>(sets.values.size()), ranks_);
    };
    RankChances chances({usual(), counts(one), counts(two)}, ranks_);
    chances.learn(saving_[at], known_);
    const auto keep = [&](const Sets& sets, uint32_t seen, std::span<const uint32_t> entries) {
      const OwnerGuess guess = guess_of(chances.of_entries(entries));
      sets_.push_back({seen, hash_sets(at, sets.first, sets.second), guess});
    };
    for (uint32_t entry = 0; entry < one.values.size(); ++entry) {
      const uint32_t entries[] = {0, entry}, seen = chances.kind(1).seen(entry);
      if (seen >= kSeenOfSets) keep(one.values[entry], seen, entries);
    }
    for (uint32_t entry = 0; entry < two.values.size(); ++entry) {
      const uint32_t seen = chances.kind(2).seen(entry);
      if (seen < kSeenOfSets) continue;
      const auto part = std::ranges::find(one.values, Sets{two.values[entry].first, 0});
      const uint32_t entries[] = {0, static_cast<uint32_t>(part - one.values.begin()), entry};
      keep(two.values[entry], seen, entries);
    }
  }

  // What sets say beside tokens. A token's own guess is taken as others of its kind made it, or it
  // would be believed too much.
  void learn_both(size_t at) {
    using Both = std::pair<RankSet, uint32_t>;
    std::vector<Both> known(kinds_.size());
    for (size_t token = 0; token < kinds_.size(); ++token) {
      if (kinds_[token] == RankCounts::kUnknown || saving_[at - 1][token] == 0) continue;
      known[token] = {saving_[at - 1][token], kinds_[token]};
    }
    const Numbering<Both> both(known, {});
    RankChances chances({usual(),
                         {kinds_, kGuessKinds, ranks_},
                         {both.entry_of, static_cast<uint32_t>(both.values.size()), ranks_}},
                        ranks_);
    chances.learn(saving_[at], known_);
    for (uint32_t entry = 0; entry < both.values.size(); ++entry) {
      const uint32_t seen = chances.kind(2).seen(entry);
      if (seen < kSeenOfSets) continue;
      const auto& [latest, kind] = both.values[entry];
      const uint32_t entries[] = {0, kind, entry};
      sets_.push_back({seen, hash_both(at, latest, kind), guess_of(chances.of_entries(entries))});
    }
  }

  void finish_home() {
    const auto layers = static_cast<double>(std::max<size_t>(saving_.size(), 1));
    for (const double chance : home_) {
      tables_.home_.push_back(static_cast<uint8_t>(std::lround(chance / layers * 255)));
    }
    const auto usual = tables_.home_.end() - ranks_;
    tables_.usual_home_.assign(usual, tables_.home_.end());
    tables_.home_.erase(usual, tables_.home_.end());
    tables_.home_.shrink_to_fit();
  }

  void keep_sets() {
    const uint64_t used = tables_.bytes();
    const uint64_t kept = fitting(sets_.size(), 0, sizeof(OwnerTables::SetEntry),
                                  bytes_max_ > used ? bytes_max_ - used : 0);
    if (kept == 0) return;
    std::ranges::stable_sort(sets_, std::greater<>(), &Learned::seen);
    tables_.by_sets_.resize(slots_for(kept));
    const size_t last = tables_.by_sets_.size() - 1;
    for (size_t i = 0; i < kept; ++i) {
      size_t slot = sets_[i].hash & last;
      while (tables_.by_sets_[slot].check != 0) slot = (slot + 1) & last;
      tables_.by_sets_[slot] = {check_of(sets_[i].hash), OwnerTables::Packed(sets_[i].guess)};
    }
  }

  const uint32_t ranks_;
  const uint64_t bytes_max_;
  const Numbering<TokenId> tokens_;
  std::vector<std::vector<RankSet>> saving_;  // [layers][tokens]
  size_t known_ = 0, rows_ = 0;
  std::vector<uint32_t> kinds_;  // [tokens] of guesses by the tokens, in the layer at hand
  std::vector<double> home_;     // [rows_ + 1][ranks] summed over the layers, the last usual
  std::vector<Learned> sets_;    // of all layers
  OwnerTables tables_;
};

OwnerTables OwnerTables::learn(const RoutingTrace& trace, const Placement& placement,
                               uint64_t bytes_max) {
  CHECK(placement.holders.size() == trace.shape.layers.size());
  return OwnerLearner(trace, placement, bytes_max).run();
}

}  // namespace switchyard
