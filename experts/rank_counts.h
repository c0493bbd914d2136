#pragma once

// How often the ranks would have saved a copy, by what was known before, and chances estimated from
// that: each kind of knowledge refines the one before as far as there is enough of it.

#include <cstdint>
#include <span>
#include <vector>

#include "experts/placement.h"

namespace switchyard {

// Counts of one kind of knowledge about a layer's tokens.
class RankCounts {
 public:
  static constexpr uint32_t kUnknown = UINT32_MAX;

  // entry_of: [tokens] what is known of each, below `entries`, or kUnknown.
  RankCounts(std::vector<uint32_t> entry_of, uint32_t entries, uint32_t ranks)
      : entry_of_(std::move(entry_of)),
        ranks_(ranks),
        hits_(size_t{entries} * ranks),
        seen_(entries) {}

  // saving: [tokens] ranks that would have saved a copy; none where it was not recorded.
  void count(std::span<const RankSet> saving, size_t from, size_t to);

  uint32_t entry(size_t token) const { return entry_of_[token]; }
  uint32_t entries() const { return static_cast<uint32_t>(seen_.size()); }
  uint32_t seen(uint32_t entry) const { return seen_[entry]; }

  // Makes of the ranks' chances without this knowledge those with it. `trust`: how many tokens'
  // worth the former are.
  void refine(uint32_t entry, double trust, std::span<double> chances) const;
  // As if a token of the entry, for which these ranks would have saved a copy, had not been
  // counted.
  void refine_without(RankSet saving, uint32_t entry, double trust,
                      std::span<double> chances) const;

 private:
  void blend(uint32_t entry, uint32_t fewer, RankSet without, double trust,
             std::span<double> chances) const;

  std::vector<uint32_t> entry_of_;  // [tokens]
  const uint32_t ranks_;
  std::vector<uint32_t> hits_;  // [entries][ranks]
  std::vector<uint32_t> seen_;  // [entries]
};

// Refinements one after the other, the usual chances first.
class RankChances {
 public:
  struct Best {
    uint32_t rank = 0;
    double chance = 0;
  };

  RankChances(std::vector<RankCounts> kinds, uint32_t ranks)
      : kinds_(std::move(kinds)),
        trusts_(kinds_.size(), 0),
        beliefs_(kinds_.size(), 1),
        chances_(ranks) {}

  // Counts the tokens [0, known), finds the trusts with which the best ranks of the others are
  // guessed best and how far those guesses hold, then counts the others too.
  void learn(std::span<const RankSet> saving, size_t known);

  const RankCounts& kind(size_t at) const { return kinds_[at]; }
  // By all that is known of a token, as the other tokens have it.
  Best of_token_left_out(size_t token, RankSet saving);
  // Of a token of which these entries are known, of the first kinds.
  Best of_entries(std::span<const uint32_t> entries);
  // All ranks' at the last call.
  std::span<const double> chances() const { return chances_; }

 private:
  struct HeldOut {
    double tokens = 0, likelihood = 0, right = 0, chance = 0;
  };
  HeldOut try_kinds(std::span<const RankSet> saving, size_t known, size_t kinds);
  Best best(size_t kinds) const;

  std::vector<RankCounts> kinds_;
  std::vector<double> trusts_;   // [kinds]
  std::vector<double> beliefs_;  // [kinds] right guesses ÷ expected ones, where it is the last
  std::vector<double> chances_;  // [ranks]
};

}  // namespace switchyard
