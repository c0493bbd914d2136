#pragma once

#include <string>
#include <string_view>

#include "experts/routing_trace.h"
#include "runtime/base/result.h"

namespace switchyard {

// Whether the text looks like the CSV form at all.
bool is_trace_csv(std::string_view text);

// The CSV form of a routing trace: comments (#) that say n_expert=N, and perhaps model=NAME and for
// layers expert_bytes=N (their mean is taken); a line of column names; then a row for each expert
// chosen: turn, phase (0 prefill, 1 decode), step, layer, slot, expert, weight; other columns are
// passed over. Every (turn, phase, step) becomes a step of one unknown token, in that order; the
// turn is the request. A layer without rows in a step was not recorded for it. kBadData naming file
// and line.
Result<RoutingTrace> parse_trace_csv(std::string_view text, const std::string& where);

}  // namespace switchyard
