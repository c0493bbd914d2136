#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/foresight.h"
#include "experts/routing_trace.h"
#include "experts/token_forecast.h"
#include "runtime/engine/router_probe.h"
#include "runtime/engine/routing_replay.h"
#include "runtime/engine/step_rows.h"

namespace switchyard {

// Gets each sequence's part of a step, its routes and what routers said beforehand.
using RoutingSink = std::function<void(const RoutingStep&)>;

// Watches the routers beside the layer loop: guesses ahead for the cache, and records. Changes
// nothing that a logit depends on.
class RoutingWatch {
 public:
  // `foresight`, `forecast`, `sink` and `replay` may be empty. With a sink, routers are asked in
  // every way there is. With a replay its answers take the place of theirs, which are computed all
  // the same; it is not recorded again.
  RoutingWatch(const ModelSpec& spec, const DenseWeights& weights, ExpertCache& cache,
               std::unique_ptr<Foresight> foresight, std::shared_ptr<const TokenForecast> forecast,
               RoutingSink sink, RoutingReplay* replay);

  void begin_step(std::span<const StepRow> rows);
  // workspace.x is what the layer's attention begins with.
  void before_attention(const Compute& compute, uint32_t layer, const Workspace& workspace);
  // The layer's router has chosen and its misses are being read; workspace.x is the residual behind
  // the attention, workspace.shared the shared expert's part if there is one.
  void routed(const Compute& compute, uint32_t layer, const Workspace& workspace);
  void end_step();

  const Foresight* foresight() const { return foresight_.get(); }
  // What Belady's optimum would have had in `slots` of the experts of the last tokens, the older
  // half of them warming it; nothing before there are kRecent steps of one token.
  std::optional<double> oracle_hit_rate(uint32_t slots) const;

 private:
  static constexpr size_t kRecent = 64;  // steps of one token that are remembered
  void number_requests();
  bool asks(RouterQuery query) const;
  void ask(const Compute& compute, RouterQuery query, uint32_t at, const Workspace& workspace);
  RoutingStep part_of(uint32_t begin, uint32_t end) const;

  const ModelSpec& spec_;
  ExpertCache& cache_;
  const std::unique_ptr<Foresight> foresight_;
  const std::shared_ptr<const TokenForecast> forecast_;
  const RoutingSink sink_;
  RoutingReplay* const replay_;
  RouterProbe probe_;
  std::vector<uint16_t> layers_;    // the model's that have routers
  std::vector<uint32_t> place_of_;  // [the model's layers] in layers_
  std::vector<bool> asked_;         // [queries]
  std::vector<StepRow> rows_;
  std::vector<ForeseenUse> foreseen_;
  std::vector<uint32_t> request_of_;                // [sequences]
  uint32_t requests_ = 0;                           // begun so far
  std::deque<std::vector<RoutedExpert>> recent_;    // [layers, top-k] of each
  std::vector<RoutedExpert> routes_;                // recorded: [layers, rows, top-k]
  std::vector<std::vector<RoutedExpert>> answers_;  // recorded: [queries][layers, rows, width]
};

}  // namespace switchyard
