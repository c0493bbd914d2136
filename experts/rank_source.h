#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "experts/expert_source.h"
#include "experts/placement.h"

namespace switchyard {

// Those experts of `all`, which outlives the result, that `placement` gives to `rank` or, where it
// is one of a group, its slice of those of the group's leader; in the same order. `layers` are the
// model's layers that have routers. A rank without any gets the first one, which nobody will ask it
// for: caches are made for at least one.
std::unique_ptr<ExpertSource> make_rank_source(const ExpertSource& all, const Placement& placement,
                                               const std::vector<uint16_t>& layers, uint32_t rank);

}  // namespace switchyard
