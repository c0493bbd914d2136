#include "experts/rank_counts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace switchyard {
namespace {

constexpr std::array kTrusts = {0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0};
constexpr double kTrustUnlearned = 8;

}  // namespace

void RankCounts::count(std::span<const RankSet> saving, size_t from, size_t to) {
  for (size_t token = from; token < to; ++token) {
    const uint32_t entry = entry_of_[token];
    if (entry == kUnknown || saving[token] == 0) continue;
    seen_[entry] += 1;
    for (RankSet left = saving[token]; left != 0; left &= left - 1) {
      hits_[size_t{entry} * ranks_ + static_cast<uint32_t>(std::countr_zero(left))] += 1;
    }
  }
}

void RankCounts::refine(uint32_t entry, double trust, std::span<double> chances) const {
  if (entry != kUnknown && seen_[entry] > 0) blend(entry, 0, 0, trust, chances);
}

void RankCounts::refine_without(RankSet saving, uint32_t entry, double trust,
                                std::span<double> chances) const {
  if (entry != kUnknown && seen_[entry] > 1) blend(entry, 1, saving, trust, chances);
}

void RankCounts::blend(uint32_t entry, uint32_t fewer, RankSet without, double trust,
                       std::span<double> chances) const {
  const uint32_t* hits = &hits_[size_t{entry} * ranks_];
  const double seen = seen_[entry] - fewer;
  for (uint32_t rank = 0; rank < ranks_; ++rank) {
    const auto hit = static_cast<double>(hits[rank] - (without >> rank & 1));
    chances[rank] = (hit + trust * chances[rank]) / (seen + trust);
  }
}

std::span<const double> RankChances::of_token(size_t token, size_t kinds) {
  std::ranges::fill(chances_, 0);
  for (size_t at = 0; at < kinds; ++at) {
    kinds_[at].refine(kinds_[at].entry(token), trusts_[at], chances_);
  }
  return chances_;
}

std::span<const double> RankChances::of_token_left_out(size_t token, RankSet saving) {
  std::ranges::fill(chances_, 0);
  for (size_t at = 0; at < kinds_.size(); ++at) {
    kinds_[at].refine_without(saving, kinds_[at].entry(token), trusts_[at], chances_);
  }
  return chances_;
}

std::span<const double> RankChances::of_entries(std::span<const uint32_t> entries) {
  std::ranges::fill(chances_, 0);
  for (size_t at = 0; at < entries.size(); ++at) {
    kinds_[at].refine(entries[at], trusts_[at], chances_);
  }
  return chances_;
}

double RankChances::likelihood(std::span<const RankSet> saving, size_t known, size_t kinds) {
  const RankCounts& last = kinds_[kinds - 1];
  double sum = 0;
  for (size_t token = known; token < saving.size(); ++token) {
    const uint32_t entry = last.entry(token);
    if (saving[token] == 0 || entry == RankCounts::kUnknown || last.seen(entry) == 0) continue;
    const auto chances = of_token(token, kinds);
    const auto best = std::ranges::max_element(chances) - chances.begin();
    const double chance = std::clamp(chances[static_cast<size_t>(best)], 1e-3, 1 - 1e-3);
    sum += std::log((saving[token] >> best & 1) != 0 ? chance : 1 - chance);
  }
  return sum;
}

void RankChances::learn(std::span<const RankSet> saving, size_t known) {
  for (RankCounts& kind : kinds_) kind.count(saving, 0, known);
  for (size_t at = 1; at < kinds_.size(); ++at) {
    double best = -INFINITY, trusted = kTrustUnlearned;
    for (const double trust : kTrusts) {
      trusts_[at] = trust;
      const double likelihood_here = likelihood(saving, known, at + 1);
      if (likelihood_here == 0) break;  // no token to learn from
      if (likelihood_here > best) trusted = trust;
      best = std::max(best, likelihood_here);
    }
    trusts_[at] = trusted;
  }
  for (RankCounts& kind : kinds_) kind.count(saving, known, saving.size());
}

}  // namespace switchyard
