#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "experts/routing_trace.h"
#include "runtime/base/prng.h"

namespace switchyard {

// Traces of layers whose experts fall into groups, those with the same number mod `groups`. A
// token's group of the first layer is its id's, that of every other one behind that of the layer
// before; with chance `strays` it is any instead.
struct TokenTraceShape {
  uint32_t layers = 3, experts = 16, top_k = 2, groups = 4, vocabulary = 50;
  double strays = 0.1;
  bool known_ids = true;
};

inline RoutingTrace token_trace(const TokenTraceShape& of, size_t tokens, uint64_t seed) {
  Prng prng(seed);
  RoutingTrace trace;
  for (uint16_t layer = 0; layer < of.layers; ++layer) trace.shape.layers.push_back(layer);
  trace.shape.experts = of.experts;
  trace.shape.top_k = of.top_k;
  for (size_t done = 0; done < tokens;) {
    RoutingStep step;
    step.request = static_cast<uint32_t>(trace.steps.size());
    step.tokens.resize(std::min<size_t>(64, tokens - done));
    step.routed.resize(step.tokens.size() * of.layers * of.top_k, RoutedExpert{0, 0.5F});
    for (size_t token = 0; token < step.tokens.size(); ++token) {
      const auto id = prng.below(of.vocabulary);
      step.tokens[token] = of.known_ids ? static_cast<TokenId>(id) : -1;
      for (uint32_t layer = 0; layer < of.layers; ++layer) {
        const bool strays = prng.uniform() < of.strays;
        const uint64_t group = (strays ? prng.below(of.groups) : id + layer) % of.groups;
        const uint64_t first = prng.below(of.experts / of.groups);
        for (uint32_t pick = 0; pick < of.top_k; ++pick) {
          const uint64_t member = (first + pick) % (of.experts / of.groups);
          step.routed[(layer * step.tokens.size() + token) * of.top_k + pick].expert =
              static_cast<uint16_t>(member * of.groups + group);
        }
      }
    }
    done += step.tokens.size();
    trace.steps.push_back(std::move(step));
  }
  return trace;
}

}  // namespace switchyard
