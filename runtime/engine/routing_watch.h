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
  // What it watches for; each may be empty. With a replay its answers take the place of the
  // routers', which are computed all the same; it is not recorded again.
  struct Parts {
    std::unique_ptr<Foresight> foresight;
    std::shared_ptr<const TokenForecast> forecast;
    RoutingSink sink;
    RoutingReplay* replay = nullptr;
    uint32_t asked = 0;  // the ways in which routers are asked, queries_for() these at least
  };
  RoutingWatch(const ModelSpec& spec, const DenseWeights& weights, ExpertCache& cache, Parts parts);
  // A bit for each RouterQuery; all of them where routes are recorded.
  static uint32_t queries_for(const Foresight* foresight, bool records);

  // Guesses are for this cache from now on, which outlives the watch or the next call.
  void use(ExpertCache& cache) { cache_ = &cache; }

  void begin_step(std::span<const StepRow> rows);
  // workspace.x is what the layer's attention begins with.
  void before_attention(const Compute& compute, uint32_t layer, const Workspace& workspace);
  // The layer's router has chosen for these of the step's rows and their misses are being read;
  // workspace.x is the residual behind the attention [the step's rows], workspace.shared the shared
  // expert's part if there is one [rows].
  void routed(const Compute& compute, uint32_t layer, std::span<const uint32_t> rows,
              const Workspace& workspace);
  // What routed() saw, [the step's rows, as much of each]: what others saw of their rows belongs
  // there too. Until learn().
  std::span<RoutedExpert> notes() { return notes_; }
  // Guesses and records by the notes.
  void learn(uint32_t layer);
  // What learn() guessed of layers to come, on whatever rank the experts are.
  std::span<const PrefetchJob> guesses() const { return guesses_; }
  void end_step();

  const Foresight* foresight() const { return foresight_.get(); }
  // What Belady's optimum would have had in `slots` of the experts of the last tokens, the older
  // half of them warming it; nothing before there are kRecent steps of one token.
  std::optional<double> oracle_hit_rate(uint32_t slots) const;

 private:
  static constexpr size_t kRecent = 64;  // steps of one token that are remembered
  void number_requests();
  bool asks(RouterQuery query) const;
  void take_answers(RouterQuery query, uint32_t at, std::span<const RoutedExpert> answers);
  std::span<const RoutedExpert> noted(size_t begin, size_t width);
  RoutingStep part_of(uint32_t begin, uint32_t end) const;

  const ModelSpec& spec_;
  ExpertCache* cache_;
  const std::unique_ptr<Foresight> foresight_;
  const std::shared_ptr<const TokenForecast> forecast_;
  const RoutingSink sink_;
  RoutingReplay* const replay_;
  RouterProbe probe_;
  std::vector<uint16_t> layers_;    // the model's that have routers
  std::vector<uint32_t> place_of_;  // [the model's layers] in layers_
  const uint32_t asked_;            // a bit each query
  std::vector<StepRow> rows_;
  std::vector<uint32_t> all_rows_;          // 0 … rows − 1
  std::vector<RouterQuery> noted_queries_;  // of the layer that was routed
  // [rows][top-k, then noted queries · width] routes and answers
  std::vector<RoutedExpert> notes_;
  std::vector<RoutedExpert> of_rows_;  // of the notes, one kind
  std::vector<ForeseenUse> foreseen_;
  std::vector<uint32_t> request_of_;                // [sequences]
  std::vector<TokenId> before_;                     // [sequences] the last step's last tokens
  uint32_t requests_ = 0;                           // begun so far
  std::span<const PrefetchJob> guesses_;            // foresight_'s
  std::deque<std::vector<RoutedExpert>> recent_;    // [layers, top-k] of each
  std::vector<RoutedExpert> routes_;                // recorded: [layers, rows, top-k]
  std::vector<std::vector<RoutedExpert>> answers_;  // recorded: [queries][layers, rows, width]
};

}  // namespace switchyard
