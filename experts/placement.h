#pragma once

// Which ranks hold which experts. A placement decides where work happens, never its result.

#include <cstdint>
#include <vector>

#include "experts/expert_order.h"

namespace switchyard {

using RankSet = uint64_t;  // bit r: rank r

struct Placement {
  uint32_t ranks = 1;                         // 1 … 64
  std::vector<std::vector<RankSet>> holders;  // [layers that have routers][experts], none empty
};

// Whether several ranks hold an expert.
bool has_replicas(const Placement& placement);

// Each rank takes its stretch of the order: with 0 … E − 1 the plain placement.
Placement place_by_order(const ExpertOrder& order, uint32_t ranks);
// As many experts on each rank as there, which ones by chance.
Placement place_at_random(size_t layers, uint32_t experts, uint32_t ranks, uint64_t seed);

}  // namespace switchyard
