#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/world.h"

namespace switchyard {

// Ranks that are threads of one process: a message is copied from the sender's memory into the
// receiver's once both are there, and both their tickets are over then. Threads cannot fall silent,
// so only `limits.wait_seconds` is watched. Each world belongs to one thread at a time; they may be
// destroyed in any order, and one that is gone while another waits for it counts as a rank that
// left. ranks in [1, kRanksMax].
std::vector<std::unique_ptr<World>> make_loopback(uint32_t ranks, const WorldLimits& limits = {});

}  // namespace switchyard
