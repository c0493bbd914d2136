#pragma once

// Speculative expert grouping: which experts of a layer share a rank, so that a token's experts lie
// on few ranks. A layer's routes are a hypergraph whose vertices are experts and whose edges are
// tokens; a grouping cuts it into parts of equal size and balanced load.

#include <cstdint>
#include <span>
#include <vector>

#include "experts/expert_order.h"
#include "experts/layer_routes.h"

namespace switchyard {

// [experts] → part, of parts that differ by one expert at most: few distinct parts a token in the
// mean, and no part with much more than its share of the picks. The same for the same seed.
std::vector<uint32_t> group_experts(const LayerRoutes& routes, uint32_t parts, uint64_t seed);

// Distinct parts a token, in the mean; 0 for no tokens.
double parts_per_token(const LayerRoutes& routes, std::span<const uint32_t> part_of);
// The busiest part's picks ÷ the mean's.
double imbalance(const LayerRoutes& routes, std::span<const uint32_t> part_of, uint32_t parts);

// The experts of every layer in an order whose stretches are good parts for 2, 4, … up to `world`
// ranks, all at once: a part of one is half a part of the other. What the layers make each rank do
// adds up to about the same.
ExpertOrder group_order(const std::vector<LayerRoutes>& layers, uint32_t world, uint64_t seed);

// Which of `world` ranks has the expert, [experts], when each takes its stretch of `order`.
std::vector<uint32_t> ranks_of(std::span<const uint16_t> order, uint32_t world);

}  // namespace switchyard
