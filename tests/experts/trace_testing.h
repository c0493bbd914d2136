#pragma once

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "experts/routing_trace.h"
#include "runtime/base/prng.h"

namespace switchyard {

inline void fill_row(std::span<RoutedExpert> row, uint32_t experts, Prng& prng) {
  const auto first = static_cast<uint32_t>(prng.below(experts));
  for (size_t i = 0; i < row.size(); ++i) {
    row[i].expert = static_cast<uint16_t>((first + i) % experts);
    row[i].gate_weight = static_cast<float>(prng.uniform());
  }
}

// About one row in eight is not recorded.
inline std::vector<RoutedExpert> random_rows(size_t rows, uint32_t width, uint32_t experts,
                                             Prng& prng) {
  std::vector<RoutedExpert> values(rows * width, RoutedExpert{0, -1});
  for (size_t row = 0; row < rows; ++row) {
    if (row == 0 || prng.below(8) != 0) {
      fill_row(std::span(values).subspan(row * width, width), experts, prng);
    }
  }
  return values;
}

inline RoutingStep random_step(const TraceShape& shape, size_t tokens_max, Prng& prng) {
  RoutingStep step;
  step.request = static_cast<uint32_t>(prng.below(5));
  step.phase = static_cast<TracePhase>(prng.below(2));
  step.tokens.resize(1 + prng.below(tokens_max));
  for (TokenId& token : step.tokens) token = static_cast<TokenId>(prng.below(1 << 20)) - 1;
  const size_t rows = shape.layers.size() * step.tokens.size();
  step.routed = random_rows(rows, shape.top_k, shape.experts, prng);
  for (const char* kind : {"next-layer", "pre-attention"}) {
    if (prng.below(2) == 0) continue;
    const auto width = static_cast<uint32_t>(1 + prng.below(std::min(shape.experts, 9U)));
    step.predictions.push_back({kind, width, random_rows(rows, width, shape.experts, prng)});
  }
  return step;
}

inline std::vector<RoutingStep> random_steps(const TraceShape& shape, size_t count,
                                             size_t tokens_max, Prng& prng) {
  std::vector<RoutingStep> steps;
  for (size_t i = 0; i < count; ++i) steps.push_back(random_step(shape, tokens_max, prng));
  return steps;
}

// Half a unit of what a file keeps of a weight, and a float's own rounding.
inline bool same_rows(const std::vector<RoutedExpert>& a, const std::vector<RoutedExpert>& b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](const RoutedExpert& x, const RoutedExpert& y) {
                      return x.expert == y.expert &&
                             std::abs(x.gate_weight - y.gate_weight) <= 1.0F / 131070 + 1e-7F;
                    });
}

inline bool same_step(const RoutingStep& a, const RoutingStep& b) {
  return a.request == b.request && a.phase == b.phase && a.tokens == b.tokens &&
         same_rows(a.routed, b.routed) &&
         std::equal(a.predictions.begin(), a.predictions.end(), b.predictions.begin(),
                    b.predictions.end(), [](const TracePrediction& x, const TracePrediction& y) {
                      return x.kind == y.kind && x.width == y.width &&
                             same_rows(x.answers, y.answers);
                    });
}

inline bool same_steps(std::span<const RoutingStep> a, std::span<const RoutingStep> b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(), same_step);
}

}  // namespace switchyard
