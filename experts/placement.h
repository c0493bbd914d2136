#pragma once

// Which ranks hold which experts. A placement decides where work happens, never its result.

#include <cstdint>
#include <vector>

#include "experts/expert_order.h"
#include "runtime/kernels/row_slice.h"

namespace switchyard {

using RankSet = uint64_t;  // bit r: rank r

struct Placement {
  uint32_t ranks = 1;                         // 1 … 64
  std::vector<std::vector<RankSet>> holders;  // [layers that have routers][experts], none empty
  // [ranks]: the rank whose experts each computes. Where that is another's, the two and whoever
  // else helps it are a group: each has a slice of the rows of the leader's experts, and rows are
  // sent to the leader, which alone is a holder. Empty: each its own.
  std::vector<uint8_t> leaders = {};

  uint32_t leader_of(uint32_t rank) const { return leaders.empty() ? rank : leaders[rank]; }
  // The ranks that compute together with `rank`, ascending: the leader, then who has slice 1, 2, …
  std::vector<uint32_t> group_of(uint32_t rank) const;
  // Of its leader's experts, what `rank` has.
  RowSlice slice_of(uint32_t rank) const;
  // Every expert has holders, and these are ranks that compute their own.
  bool valid() const;
};

// Whether several ranks hold an expert.
bool has_replicas(const Placement& placement);

// Each rank takes its stretch of the order: with 0 … E − 1 the plain placement. Ranks beyond the
// number of experts help the one before them, at most `slices_max` together (as
// ExpertLayout::slices_max()); what are left have nothing to do.
Placement place_by_order(const ExpertOrder& order, uint32_t ranks, uint32_t slices_max = 1);
// As many experts on each rank as there, which ones by chance.
Placement place_at_random(size_t layers, uint32_t experts, uint32_t ranks, uint64_t seed,
                          uint32_t slices_max = 1);

}  // namespace switchyard
