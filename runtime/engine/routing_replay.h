#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "experts/predictors/predictor.h"
#include "experts/routing_trace.h"
#include "runtime/base/result.h"
#include "runtime/engine/model_spec.h"
#include "runtime/engine/step_rows.h"

namespace switchyard {

// Routes tokens as a recorded trace did, whatever the routers say: to time a model whose own
// routing means nothing. Prompts take the tokens of the trace's prompts, what is decoded takes the
// decoded ones; each sequence goes on where it was, from a place of its own, round and round. Gate
// weights that were not recorded are 1 ÷ top-k.
class RoutingReplay {
 public:
  // The trace is mapped to the model's layers and experts (experts/trace_mapping.h), whose errors
  // are returned; the model computes shape().top_k experts a token from then on.
  static Result<RoutingReplay> create(const RoutingTrace& trace, const ModelSpec& spec,
                                      uint32_t sequences);

  const TraceShape& shape() const { return trace_.shape; }
  // That of the trace before it was mapped.
  const TraceShape& recorded_shape() const { return recorded_; }
  // Whether the trace holds answers to this way of asking routers.
  bool has_answers(RouterQuery query) const;

  void begin_step(std::span<const StepRow> rows);
  // The recorded id of what the `row`-th of the step's rows stands for; -1: there is none.
  TokenId token(size_t row) const { return rows_[row].step->tokens[rows_[row].token]; }
  // The step's routes at `layer` of the model, [rows, top-k].
  void route(uint32_t layer, std::span<RoutedExpert> routed) const;
  // What the router of the `at`-th layer that has one answered, [rows, width]; empty where it was
  // not asked of every row. Valid until the next call.
  struct Answers {
    std::span<const RoutedExpert> answers;
    uint32_t width = 0;
  };
  Answers answers(RouterQuery query, uint32_t at);

 private:
  struct Token {
    const RoutingStep* step;
    size_t token;
  };
  RoutingReplay(RoutingTrace trace, TraceShape recorded)
      : trace_(std::move(trace)), recorded_(std::move(recorded)) {}
  const std::vector<Token>& tokens(bool prompt) const { return tokens_[prompt ? 0 : 1]; }

  RoutingTrace trace_;
  TraceShape recorded_;
  std::array<std::vector<Token>, 2> tokens_;  // of prompts, and decoded
  std::vector<std::array<size_t, 2>> next_;   // [sequences] likewise
  std::vector<Token> rows_;                   // of the step
  std::vector<RoutedExpert> answers_;
};

}  // namespace switchyard
