#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "experts/policies/policy.h"
#include "experts/predictors/predictor.h"
#include "experts/prefetcher.h"

namespace switchyard {

// How good guesses were at one layer.
struct LayerRecall {
  uint64_t tokens = 0;
  uint64_t slots = 0;       // tokens · top-k
  uint64_t slots_hit = 0;   // of these, among the first top-k guessed
  uint64_t routes_hit = 0;  // tokens all of whose experts were
  double mass = 0;          // of gate weights
  double mass_hit = 0;

  void add(const LayerRecall& other) {
    tokens += other.tokens;
    slots += other.slots;
    slots_hit += other.slots_hit;
    routes_hit += other.routes_hit;
    mass += other.mass;
    mass_hit += other.mass_hit;
  }
};

// What was guessed from where.
enum class Horizon : uint8_t { kSameLayer, kPreAttention, kOneAhead, kTwoAhead };
inline constexpr size_t kHorizons = 4;

// A predictor at work: asks it at the right moments, checks every guess against the truth, learns
// from that how far each rank of a guess may be believed, and makes prefetch jobs of it. Layers are
// those that have routers, counted from 0. One thread; never blocks.
class Foresight {
 public:
  static constexpr uint32_t kTokensMax = 16;  // of a step; larger ones are only learned from

  // `layers` are the model's layers that have routers.
  Foresight(std::unique_ptr<Predictor> predictor, const PredictorShape& shape,
            std::vector<uint16_t> layers);

  // What routers are to be asked, the control included.
  std::vector<RouterQuery> queries() const;

  // Before begin_step(): what its tokens foretell of all layers and the next step's, by their ids
  // alone (TokenForecast).
  void foresee(std::span<const ForeseenUse> uses);

  // The verbs of a step in their order; each returns jobs for the cache (valid until the next
  // call), the most urgent first.
  std::span<const PrefetchJob> begin_step(std::span<const TokenId> tokens,
                                          std::span<const uint32_t> requests);
  std::span<const PrefetchJob> answer(RouterQuery query, uint32_t layer,
                                      std::span<const RoutedExpert> answers, uint32_t width);
  void observe(uint32_t layer, std::span<const RoutedExpert> routed);
  std::span<const PrefetchJob> look_ahead(uint32_t layer);  // behind observe(layer)

  // [layers]
  const std::vector<LayerRecall>& recall(Horizon horizon) const {
    return recall_[static_cast<size_t>(horizon)];
  }
  uint64_t bytes() const;

 private:
  struct Guess {
    std::vector<uint16_t> experts;  // [tokens, width]
    std::vector<uint32_t> counts;   // [tokens]; empty: no guess
  };
  Guess& guess(Horizon horizon, uint32_t layer);
  void ask(Horizon horizon, uint32_t layer, uint32_t layers_ahead);
  void add_foreseen(uint32_t layers_over);
  void check(Horizon horizon, uint32_t layer, std::span<const RoutedExpert> routed);
  float& belief(Horizon horizon, uint32_t layer, uint32_t rank);

  const std::unique_ptr<Predictor> predictor_;
  const PredictorShape shape_;
  const std::vector<uint16_t> layers_;
  const uint32_t width_;  // experts guessed for each token
  uint32_t tokens_ = 0;   // of the step; 0: too many to guess for
  std::array<std::vector<LayerRecall>, kHorizons> recall_;
  std::vector<Guess> guesses_;   // [horizons, layers]
  std::vector<float> belief_;    // [horizons, layers, width] how often a rank's guess came true
  std::vector<float> not_used_;  // [experts] probability that no token uses it
  std::vector<PrefetchJob> foreseen_;  // of the step, layers counted from its beginning
  std::vector<PrefetchJob> jobs_;
};

}  // namespace switchyard
