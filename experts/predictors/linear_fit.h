#pragma once

#include <array>
#include <cstdint>

#include "experts/predictors/linear_map.h"
#include "experts/routing_trace.h"
#include "runtime/base/result.h"

namespace switchyard {

// How much of routes the best top-k experts of a map's scores hold.
struct LinearRecall {
  uint64_t slots = 0;
  uint64_t slots_hit = 0;
  double share() const { return slots > 0 ? static_cast<double>(slots_hit) / slots : 0; }
};

struct LinearFit {
  LinearMap map;
  uint64_t tokens_fitted = 0;
  uint64_t tokens_held_out = 0;                            // the trace's last fifth
  std::array<LinearRecall, kLinearDistances> recall = {};  // of these, by distance less one
};

// Ridge regression of which experts a layer chooses on the gate weights of those before it; the
// same bits every time. kBadData when the trace has fewer than 10 tokens or 2 layers; kConfig when
// the model is too large for a map. Takes tokens · top-k² + experts³ operations for each layer and
// distance.
Result<LinearFit> fit_linear_map(const RoutingTrace& trace);

}  // namespace switchyard
