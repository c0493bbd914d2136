#pragma once

// Whether further holders of hot experts would even out what ranks have to do, from what tokens
// picked so far. Pure.

#include <cstdint>
#include <optional>
#include <vector>

#include "experts/placement.h"

namespace switchyard {

// How often each expert was picked: [layers that have routers][experts].
using PickCounts = std::vector<std::vector<double>>;

// `base` stays as it is; its experts may have further holders, as many as replica_room() allows.
struct ReplicaRules {
  Placement base;
  double memory_share = 0;
};

// What the busiest ranks compute, layer by layer, ÷ what they would if all computed alike, when
// those that hold an expert share its picks evenly. 1: all alike, or no picks.
double busiest_work(const Placement& placement, const PickCounts& picks);

// The base with further holders, one after the other those that even out a layer's work most; none
// that hardly does.
Placement even_out(const ReplicaRules& rules, const PickCounts& picks);

// Advises placements one after the other. A change has to be worth its reads, and must not be taken
// back at once: another placement is made from what was picked before, and advised when the busiest
// ranks would have done a tenth less with it for the picks since, which it has not seen.
class PlacementAdvisor {
 public:
  PlacementAdvisor(ReplicaRules rules, Placement now);

  // Of the picks since the last call, those before them counting less the older they are. The
  // placement that is returned is the one that holds from now on.
  std::optional<Placement> advise(const PickCounts& latest);

 private:
  const ReplicaRules rules_;
  Placement now_;
  PickCounts before_;  // empty: no picks yet
};

}  // namespace switchyard
