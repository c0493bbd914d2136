#pragma once

#include "comm/world.h"
#include "runtime/base/result.h"
#include "scheduler/exchange_cost.h"

namespace switchyard {

// Measures rounds of messages between all ranks, all at once as an exchange of rows is. Every rank
// calls it; rank 0's figures count. Some milliseconds, on slow links some tens. The world's errors.
Result<RoundRates> measure_links(World& world);

}  // namespace switchyard
