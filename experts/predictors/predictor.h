#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "experts/router.h"
#include "runtime/base/ids.h"

namespace switchyard {

// Ways to ask a router before its turn, of the residual stream as it is at an earlier place.
enum class RouterQuery : uint8_t {
  kSameLayer,        // behind the layer's own attention: what the router will see; a control
  kPreAttention,     // before the layer's own attention
  kNextLayer,        // behind the attention of the layer before
  kNextTwo,          // two layers before
  kNextLayerShared,  // the same, the shared expert's output added
  kNextTwoShared,
};
inline constexpr size_t kRouterQueries = 6;

constexpr std::string_view query_name(RouterQuery query) {
  constexpr std::string_view kNames[kRouterQueries] = {"same-layer",        "pre-attention",
                                                       "next-layer",        "next-two",
                                                       "next-layer-shared", "next-two-shared"};
  return kNames[static_cast<size_t>(query)];
}

// How many layers lie between where it is asked and the router that answers.
constexpr uint32_t query_distance(RouterQuery query) {
  constexpr uint32_t kDistances[kRouterQueries] = {0, 0, 1, 2, 1, 2};
  return kDistances[static_cast<size_t>(query)];
}

struct PredictorShape {
  uint32_t layers = 0;   // that have routers; predictors count these alone, from 0
  uint32_t experts = 0;  // of a layer
  uint32_t top_k = 0;
};

// Guesses which experts tokens will need in layers to come. A guess chooses when something is read
// and what stays, never a result. Routes and answers are [tokens, width], best first, in the order
// of the step's tokens. Used from one thread; never blocks; memory is bounded and taken at the
// start. To add one, write predictors/NAME.{h,cc} and its line in registry.cc.
class Predictor {
 public:
  virtual ~Predictor() = default;

  virtual uint64_t bytes() const { return 0; }
  // What it wants routers to be asked.
  virtual std::vector<RouterQuery> queries() const { return {}; }
  // A step begins with these tokens (−1: not known), each the next of its request.
  virtual void begin_step(std::span<const TokenId> /*tokens*/,
                          std::span<const uint32_t> /*requests*/) {}
  // The router of `layer` was asked.
  virtual void answer(RouterQuery /*query*/, uint32_t /*layer*/,
                      std::span<const RoutedExpert> /*answers*/, uint32_t /*width*/) {}
  // What the router of `layer` chose when its turn came; layers ascend within a step.
  virtual void observe(uint32_t /*layer*/, std::span<const RoutedExpert> /*routed*/) {}
  // The experts that the step's `token` will need at `layer`, the most probable first, distinct:
  // writes at most out.size() and returns how many. Called for one and two layers ahead of the last
  // one observed (at the step's beginning: for layers 0 and 1), and for a layer itself before its
  // attention.
  virtual uint32_t predict(uint32_t layer, uint32_t token, std::span<uint16_t> out) const = 0;
};

}  // namespace switchyard
