#include "experts/rank_counts.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>

namespace switchyard {
namespace {

constexpr std::array kTrusts = {0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0};
constexpr double kTrustUnlearned = 8;
constexpr double kTokensToBelieve = 100;  // fewer say too little of a share

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

RankChances::Best RankChances::best(size_t kinds) const {
  const auto best = std::ranges::max_element(chances_);
  return {static_cast<uint32_t>(best - chances_.begin()),
          std::min(*best * beliefs_[kinds - 1], 1.0)};
}

RankChances::Best RankChances::of_token_left_out(size_t token, RankSet saving) {
  std::ranges::fill(chances_, 0);
  for (size_t at = 0; at < kinds_.size(); ++at) {
    kinds_[at].refine_without(saving, kinds_[at].entry(token), trusts_[at], chances_);
  }
  return best(kinds_.size());
}

RankChances::Best RankChances::of_entries(std::span<const uint32_t> entries) {
  std::ranges::fill(chances_, 0);
  for (size_t at = 0; at < entries.size(); ++at) {
    kinds_[at].refine(entries[at], trusts_[at], chances_);
  }
  return best(entries.size());
}

RankChances::HeldOut RankChances::try_kinds(std::span<const RankSet> saving, size_t known,
                                            size_t kinds) {
  HeldOut held;
  std::vector<uint32_t> entries(kinds);
  for (size_t token = known; token < saving.size(); ++token) {
    for (size_t at = 0; at < kinds; ++at) entries[at] = kinds_[at].entry(token);
    const uint32_t last = entries.back();
    if (saving[token] == 0 || last == RankCounts::kUnknown) continue;
    if (kinds_[kinds - 1].seen(last) == 0) continue;
    const Best guess = of_entries(entries);
    const double chance = std::clamp(guess.chance, 1e-3, 1 - 1e-3);
    const bool right = (saving[token] >> guess.rank & 1) != 0;
    held.tokens += 1;
    held.likelihood += std::log(right ? chance : 1 - chance);
    held.right += right ? 1 : 0;
    held.chance += chance;
  }
  return held;
}

void RankChances::learn(std::span<const RankSet> saving, size_t known) {
  for (RankCounts& kind : kinds_) kind.count(saving, 0, known);
  for (size_t at = 1; at < kinds_.size(); ++at) {
    HeldOut best;
    double trusted = kTrustUnlearned;
    for (const double trust : kTrusts) {
      trusts_[at] = trust;
      const HeldOut held = try_kinds(saving, known, at + 1);
      if (held.tokens == 0) break;
      if (best.tokens > 0 && held.likelihood <= best.likelihood) continue;
      best = held;
      trusted = trust;
    }
    trusts_[at] = trusted;
    if (best.tokens >= kTokensToBelieve) beliefs_[at] = best.right / best.chance;
  }
  for (RankCounts& kind : kinds_) kind.count(saving, known, saving.size());
}

}  // namespace switchyard
