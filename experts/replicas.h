#pragma once

// Copies of hot experts on further ranks, so that fewer copies of tokens travel.

#include <cstdint>
#include <vector>

#include "experts/layer_routes.h"
#include "experts/placement.h"

namespace switchyard {

// Further holders that `memory_share` more memory for experts has room for.
struct ReplicaRoom {
  uint64_t all = 0;
  uint64_t each = 0;  // on one rank: its part, rounded up
};
ReplicaRoom replica_room(const Placement& base, double memory_share);

// `base` with further holders, as many as there is room for: one after the other those that save
// most copies a token when its row lies on a good owner; how far they even out the ranks' work, in
// the layer and over all, counts beside it. None is added that costs more than it saves, and none
// on a rank that helps another: what its leader gets is cut for it too. The same for the same
// input.
Placement replicate(const std::vector<LayerRoutes>& layers, Placement base, double memory_share);

// The holders of one token's picks, [picks].
inline void holders_of(std::span<const uint16_t> picks, const std::vector<RankSet>& layer,
                       std::vector<RankSet>& holders) {
  holders.clear();
  for (const uint16_t expert : picks) holders.push_back(layer[expert]);
}

}  // namespace switchyard
