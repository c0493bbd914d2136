#include "experts/placement.h"

#include <algorithm>
#include <bit>
#include <numeric>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/prng.h"

namespace switchyard {

bool has_replicas(const Placement& placement) {
  return std::ranges::any_of(placement.holders, [](const std::vector<RankSet>& layer) {
    return !std::ranges::all_of(layer, [](RankSet ranks) { return std::has_single_bit(ranks); });
  });
}

Placement place_by_order(const ExpertOrder& order, uint32_t ranks) {
  CHECK_THAT(ranks >= 1 && ranks <= 64, "{} ranks", ranks);
  Placement placement{.ranks = ranks, .holders = {}};
  for (const std::vector<uint16_t>& layer : order) {
    std::vector<RankSet>& holders = placement.holders.emplace_back(layer.size());
    for (size_t place = 0; place < layer.size(); ++place) {
      holders[layer[place]] = RankSet{1} << (place * ranks / layer.size());
    }
  }
  return placement;
}

Placement place_at_random(size_t layers, uint32_t experts, uint32_t ranks, uint64_t seed) {
  Prng prng(seed);
  ExpertOrder order = plain_order(layers, experts);
  for (std::vector<uint16_t>& layer : order) {
    for (size_t i = layer.size(); i > 1; --i) std::swap(layer[i - 1], layer[prng.below(i)]);
  }
  return place_by_order(order, ranks);
}

}  // namespace switchyard
