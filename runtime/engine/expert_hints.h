#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "comm/hint_exchange.h"
#include "experts/expert_cache.h"
#include "experts/placement.h"
#include "runtime/base/result.h"

namespace switchyard {

// Between what a rank guesses of its rows and the caches of the ranks that hold the experts: each
// tells the others what it expects to ask of them, and which replicas it has in memory. The layers
// are those that have routers, counted from 0. Changes nothing that a logit depends on.
class ExpertHints {
 public:
  // `replicas`: some expert may have several holders, now or later. `layers` are the model's that
  // have routers; what is referred to outlives this.
  ExpertHints(World& world, const Placement& placement, bool replicas, std::vector<uint16_t> layers,
              ExpertCache& cache);
  // Between steps, when the placement has changed and the cache with it: forgets what was told.
  void use(ExpertCache& cache);

  void begin_step(uint32_t number);
  // For each expert of layer `at` that several ranks hold, those in whose memory it was when they
  // told last, a bit each; of the others' nothing. Empty where no expert may have. Valid until
  // the next call.
  std::span<const uint64_t> present(uint32_t at);
  // The router of layer `at` has chosen: tells the others what is guessed of layers to come, whose
  // experts may lie on any rank, and what is in memory for the next one. Does not block.
  void tell(uint32_t at, std::span<const PrefetchJob> guesses);
  // Hands the cache what others have told, with the own guesses. `wait`: for all that was told in
  // the layer of the last tell(). Errors as the exchange's.
  Status hear(bool wait);
  // The work of the last tell()'s layer is over, so what was told in layers before it has come; at
  // the last one blocks for all.
  Status end_layer();

  const Traffic& traffic() const { return exchange_.traffic(); }
  void reset_traffic() { exchange_.reset_traffic(); }

 private:
  struct Guess {
    uint32_t at = 0;  // the layer
    uint16_t expert = 0;
    double probability = 0;
  };
  // The layer whose turn comes next, in the next step if need be.
  uint32_t behind(uint32_t at) const { return (at + 1) % static_cast<uint32_t>(layers_.size()); }
  uint32_t holder(uint32_t at, uint16_t expert);
  std::span<uint64_t> told(uint32_t at, uint32_t rank);
  void look(uint32_t at);
  void take(const Hints& hints);
  void prefetch();

  const Placement& placement_;
  const std::vector<uint16_t> layers_;
  ExpertCache* cache_;
  const uint32_t rank_;
  const uint32_t words_;  // a bit for each of a layer's experts; 0: none has replicas
  HintExchange exchange_;
  const HintExchange::Sink take_ = [this](const Hints& hints) { take(hints); };
  uint32_t step_ = 0;
  uint32_t at_ = 0;                          // of the last tell()
  bool news_ = false;                        // some have come since the last prefetch()
  std::vector<std::vector<Guess>> guesses_;  // [ranks] what each told last; the own ones
  std::vector<std::vector<Hint>> wanted_;    // [ranks] to tell
  std::vector<uint64_t> told_;               // [layers][ranks][words_] who has what in memory
  std::vector<uint64_t> present_;            // [experts]
};

}  // namespace switchyard
