#include "runtime/engine/routing_replay.h"

#include <algorithm>
#include <utility>

#include "experts/trace_mapping.h"

namespace switchyard {
namespace {

const TracePrediction* find_prediction(const RoutingStep& step, RouterQuery query) {
  const auto found = std::ranges::find(step.predictions, query_name(query), &TracePrediction::kind);
  return found == step.predictions.end() ? nullptr : &*found;
}

}  // namespace

Result<RoutingReplay> RoutingReplay::create(const RoutingTrace& trace, const ModelSpec& spec,
                                            uint32_t sequences) {
  RoutingReplay replay(TRY(map_trace(trace, spec.router_layers(), spec.moe.experts)), trace.shape);
  for (const RoutingStep& step : replay.trace_.steps) {
    auto& tokens = replay.tokens_[step.phase == TracePhase::kPrefill ? 0 : 1];
    for (size_t token = 0; token < step.tokens.size(); ++token) tokens.push_back({&step, token});
  }
  for (size_t i = 0; i < 2; ++i) {
    if (replay.tokens_[i].empty()) replay.tokens_[i] = replay.tokens_[1 - i];
  }
  for (size_t i = 0; i < sequences; ++i) {
    replay.next_.push_back(
        {replay.tokens_[0].size() * i / sequences, replay.tokens_[1].size() * i / sequences});
  }
  return replay;
}

bool RoutingReplay::has_answers(RouterQuery query) const {
  return std::ranges::any_of(trace_.steps, [&](const RoutingStep& step) {
    return find_prediction(step, query) != nullptr;
  });
}

void RoutingReplay::begin_step(std::span<const StepRow> rows) {
  rows_.clear();
  for (const StepRow& row : rows) {
    const std::vector<Token>& from = tokens(row.prompt);
    size_t& next = next_[static_cast<uint32_t>(row.sequence)][row.prompt ? 0 : 1];
    rows_.push_back(from[next]);
    next = (next + 1) % from.size();
  }
}

void RoutingReplay::route(uint32_t layer, std::span<RoutedExpert> routed) const {
  const auto found = std::ranges::lower_bound(trace_.shape.layers, layer);
  const auto at = static_cast<size_t>(found - trace_.shape.layers.begin());
  const uint32_t k = trace_.shape.top_k;
  for (size_t row = 0; row < rows_.size(); ++row) {
    const RoutingStep& step = *rows_[row].step;
    const size_t begin = (at * step.tokens.size() + rows_[row].token) * k;
    for (uint32_t i = 0; i < k; ++i) {
      RoutedExpert expert = step.routed[begin + i];
      if (expert.gate_weight < 0) expert.gate_weight = 1.0F / static_cast<float>(k);
      routed[row * k + i] = expert;
    }
  }
}

RoutingReplay::Answers RoutingReplay::answers(RouterQuery query, uint32_t at) {
  answers_.clear();
  uint32_t width = 0;
  for (const auto& [step, token] : rows_) {
    const TracePrediction* prediction = find_prediction(*step, query);
    if (prediction == nullptr || (width != 0 && prediction->width != width)) return {};
    width = prediction->width;
    const auto row =
        std::span(prediction->answers).subspan((at * step->tokens.size() + token) * width, width);
    if (row.front().gate_weight < 0) return {};
    answers_.insert(answers_.end(), row.begin(), row.end());
  }
  return {answers_, width};
}

}  // namespace switchyard
