#pragma once

#include <cstdint>
#include <vector>

#include "experts/routing_trace.h"
#include "runtime/base/result.h"

namespace switchyard {

// `trace` as if a model with these layers and so many experts had made it: layer l routes as the
// trace's layer l modulo its layers, expert e is e modulo `experts` or, where the token has that
// one already, the next it has not; top-k stays. kUsage when top-k is more than `experts`, kBadData
// when the trace is empty.
Result<RoutingTrace> map_trace(const RoutingTrace& trace, std::vector<uint16_t> layers,
                               uint32_t experts);

}  // namespace switchyard
