#pragma once

// What routers chose, as values: recorded by a run, replayed by the simulator, learned from by
// predictors and placements.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experts/router.h"
#include "runtime/base/ids.h"

namespace switchyard {

struct TraceShape {
  std::vector<uint16_t> layers;  // the model's layers that have routers, ascending
  uint32_t experts = 0;          // of a layer
  uint32_t top_k = 0;            // recorded, not more than the model's own
  uint64_t expert_bytes = 0;     // of one expert; 0: not known
  bool operator==(const TraceShape&) const = default;
};

enum class TracePhase : uint8_t { kPrefill, kDecode };

// What a router said of tokens at a layer before its turn, best first. `kind` is the name of the
// way it was asked ("next-layer", …).
struct TracePrediction {
  std::string kind;
  uint32_t width = 0;                 // experts listed for each token
  std::vector<RoutedExpert> answers;  // [layers, tokens, width]; gate weight < 0: not asked
};

// The tokens of one sequence that were computed together in one step.
struct RoutingStep {
  uint32_t request = 0;  // sequences are numbered in the order in which they began
  TracePhase phase = TracePhase::kPrefill;
  std::vector<TokenId> tokens;  // −1: not known
  // [layers, tokens, top_k], best first; gate weights < 0: that layer was not recorded for the
  // token (some engines skip the last layer of all but a prompt's last token).
  std::vector<RoutedExpert> routed;
  std::vector<TracePrediction> predictions;

  // One token's experts in `shape.layers[layer]`; none where they were not recorded.
  std::span<const RoutedExpert> at(const TraceShape& shape, size_t layer, size_t token) const {
    const auto row =
        std::span(routed).subspan((layer * tokens.size() + token) * shape.top_k, shape.top_k);
    return row.front().gate_weight < 0 ? row.first(0) : row;
  }
};

struct RoutingTrace {
  TraceShape shape;
  std::string model;  // where it was recorded; may be empty
  std::vector<RoutingStep> steps;
};

}  // namespace switchyard
