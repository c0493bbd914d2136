#include "experts/trace_mapping.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace switchyard {
namespace {

using Row = std::span<const RoutedExpert>;

void append_mapped(Row from, uint32_t width, uint32_t experts, std::vector<RoutedExpert>& to) {
  const auto first = static_cast<ptrdiff_t>(to.size());
  for (const RoutedExpert& routed : from.first(width)) {
    RoutedExpert mapped = routed;
    const auto taken = [&] {
      return std::find_if(to.begin() + first, to.end(), [&](const RoutedExpert& earlier) {
               return earlier.expert == mapped.expert;
             }) != to.end();
    };
    mapped.expert = static_cast<uint16_t>(routed.expert % experts);
    while (taken()) mapped.expert = static_cast<uint16_t>((mapped.expert + 1U) % experts);
    to.push_back(mapped);
  }
}

class Mapping {
 public:
  Mapping(const TraceShape& from, const TraceShape& to) : from_(from), to_(to) {}

  RoutingStep step(const RoutingStep& step) const {
    RoutingStep mapped = step;
    mapped.routed = rows(step.routed, step.tokens.size(), from_.top_k, to_.top_k);
    for (TracePrediction& prediction : mapped.predictions) {
      const uint32_t width = std::min(prediction.width, to_.experts);
      prediction.answers = rows(prediction.answers, step.tokens.size(), prediction.width, width);
      prediction.width = width;
    }
    return mapped;
  }

 private:
  // [layers, tokens, width] of the one shape to that of the other.
  std::vector<RoutedExpert> rows(Row from, size_t tokens, uint32_t width, uint32_t kept) const {
    std::vector<RoutedExpert> to;
    to.reserve(to_.layers.size() * tokens * kept);
    for (size_t layer = 0; layer < to_.layers.size(); ++layer) {
      const size_t source = layer % from_.layers.size();
      for (size_t token = 0; token < tokens; ++token) {
        append_mapped(from.subspan((source * tokens + token) * width, width), kept, to_.experts,
                      to);
      }
    }
    return to;
  }

  const TraceShape& from_;
  const TraceShape& to_;
};

}  // namespace

Result<RoutingTrace> map_trace(const RoutingTrace& trace, std::vector<uint16_t> layers,
                               uint32_t experts) {
  if (trace.steps.empty()) {
    return fail(Code::kBadData, "the routing trace is empty", {}, "record one with run");
  }
  if (trace.shape.top_k > experts) {
    return fail(Code::kUsage,
                fmt::format("the routing trace has {} experts a token, the model has {} in all",
                            trace.shape.top_k, experts));
  }
  RoutingTrace mapped;
  mapped.shape = {std::move(layers), experts, trace.shape.top_k, trace.shape.expert_bytes};
  mapped.model = trace.model;
  const Mapping mapping(trace.shape, mapped.shape);
  for (const RoutingStep& step : trace.steps) mapped.steps.push_back(mapping.step(step));
  return mapped;
}

}  // namespace switchyard
