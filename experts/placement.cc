#include "experts/placement.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

// Of more ranks than there are experts in a layer: those without any help the one before them.
std::vector<uint8_t> leaders_of(size_t experts, uint32_t ranks, uint32_t slices_max) {
  std::vector<uint8_t> leaders(ranks);
  std::iota(leaders.begin(), leaders.end(), uint8_t{0});
  for (size_t place = 0; place < experts; ++place) {
    const size_t leader = place * ranks / experts, next = (place + 1) * ranks / experts;
    const size_t end = std::min(next, leader + slices_max);
    for (size_t rank = leader; rank < end; ++rank) leaders[rank] = static_cast<uint8_t>(leader);
  }
  return leaders;
}

}  // namespace

std::vector<uint32_t> Placement::group_of(uint32_t rank) const {
  std::vector<uint32_t> group;
  for (uint32_t other = 0; other < ranks; ++other) {
    if (leader_of(other) == leader_of(rank)) group.push_back(other);
  }
  return group;
}

RowSlice Placement::slice_of(uint32_t rank) const {
  const std::vector<uint32_t> group = group_of(rank);
  const auto index = std::ranges::find(group, rank) - group.begin();
  return {static_cast<uint32_t>(index), static_cast<uint32_t>(group.size())};
}

bool Placement::valid() const {
  RankSet leading = 0;
  for (uint32_t rank = 0; rank < ranks; ++rank) leading |= RankSet{1} << leader_of(rank);
  return std::ranges::all_of(holders, [&](const std::vector<RankSet>& layer) {
    return std::ranges::all_of(layer, [&](RankSet of) { return of != 0 && (of & ~leading) == 0; });
  });
}

bool has_replicas(const Placement& placement) {
  return std::ranges::any_of(placement.holders, [](const std::vector<RankSet>& layer) {
    return !std::ranges::all_of(layer, [](RankSet ranks) { return std::has_single_bit(ranks); });
  });
}

Placement place_by_order(const ExpertOrder& order, uint32_t ranks, uint32_t slices_max) {
  CHECK_THAT(ranks >= 1 && ranks <= 64, "{} ranks", ranks);
  Placement placement{.ranks = ranks, .holders = {}};
  for (const std::vector<uint16_t>& layer : order) {
    std::vector<RankSet>& holders = placement.holders.emplace_back(layer.size());
    for (size_t place = 0; place < layer.size(); ++place) {
      holders[layer[place]] = RankSet{1} << (place * ranks / layer.size());
    }
  }
  if (slices_max > 1 && !order.empty() && ranks > order.front().size()) {
    placement.leaders = leaders_of(order.front().size(), ranks, slices_max);
  }
  return placement;
}

Placement place_at_random(size_t layers, uint32_t experts, uint32_t ranks, uint64_t seed,
                          uint32_t slices_max) {
  Prng prng(seed);
  ExpertOrder order = plain_order(layers, experts);
  for (std::vector<uint16_t>& layer : order) {
    for (size_t i = layer.size(); i > 1; --i) std::swap(layer[i - 1], layer[prng.below(i)]);
  }
  return place_by_order(order, ranks, slices_max);
}

}  // namespace switchyard
