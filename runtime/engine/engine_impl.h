#pragma once

// The inside of an engine: engine.cc makes it, engine_step.cc runs it, engine_team.cc talks to
// other ranks, engine_experts.cc holds the experts.

#include <array>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "comm/owner_exchange.h"
#include "comm/slice_exchange.h"
#include "experts/expert_cache.h"
#include "experts/expert_source.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/attention_block.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/expert_hints.h"
#include "runtime/engine/kv_cache.h"
#include "runtime/engine/logits_block.h"
#include "runtime/engine/moe_block.h"
#include "runtime/engine/pass_choice.h"
#include "runtime/engine/rank_command.h"
#include "runtime/engine/workspace.h"
#include "scheduler/exchange_cost.h"

namespace switchyard {

std::vector<RankWork> work_of(const std::vector<RankReport>& reports);

class Engine::Impl {
 public:
  Impl(const ModelSource& source, const Kernels& kernels, const EngineOptions& options);

  void join_team();
  Status start_watch(std::unique_ptr<Foresight> foresight);

  // The rank's experts and their cache, engine_experts.cc. Those of `placement` are taken, and
  // staged where that is wanted; then a cache is opened and filled. `report` may be empty.
  Status take_experts();
  Status open_cache(const std::function<void(uint64_t bytes_done)>& report);
  const ExpertSource& expert_source() const {
    return staged ? *staged : own_experts ? *own_experts : source.experts();
  }
  ExpertCacheCounters cache_counters() const;
  // Between requests: rank 0 may advise another placement, which change_placement() takes on every
  // rank. kInternal for one that does not fit this rank; errors of reads and of the team.
  void watch_placement();
  Status adapt_placement();
  Status change_placement(const Placement& next);
  RankWork rank_work() const;

  // A step, engine_step.cc.
  Status check(const StepPlan& plan) const;
  Status run_step(const RankCommand& command, const LogitsSink& sink, const BestSink& best);

  // With other ranks, engine_team.cc. `order` does here and on the others what it says.
  Status order(const RankCommand& command);
  Status obey(const RankCommand& command);
  Status serve();
  Result<std::vector<RankReport>> rank_reports();
  RankReport rank_report() const;
  std::vector<ExchangeWay> choose_ways(const StepPlan& step) const;
  double copies_seen(uint32_t layer) const;
  bool choose_halves(const StepPlan& step);
  void end_team();

  Result<SequenceId> free_sequence() const;
  uint32_t home_for(SequenceId sequence, std::span<const TokenId> beginning) const;
  Compute compute() { return {kernels, pool}; }
  uint32_t expert_slots() const { return std::min(cache->slots(), experts); }

  struct Sequence {
    bool open = false;
    uint32_t home = 0;    // the rank of its keys and values, unless heads are split
    uint32_t length = 0;  // positions
  };

  const ModelSource& source;
  const EngineOptions options;
  const ModelSpec& spec;
  const Kernels& kernels;
  const TeamOptions team;
  Placement placement;  // the team's; alone: everything here
  WorkerPool pool;
  std::unique_ptr<ExpertSource> own_experts;  // null: all of the source's
  std::unique_ptr<ExpertSource> staged;       // a copy of them; null: none
  uint32_t experts = 0;                       // that this rank holds, of all layers …
  const uint32_t experts_max;                 // … and ever may
  MemoryPlan plan;
  uint32_t logits_rows = 0;  // computed at once, the same on all ranks
  DenseWeights weights;
  Workspace workspace;
  std::shared_ptr<Device> device;  // null: none
  std::unique_ptr<ExpertCache> cache;
  std::vector<std::unique_ptr<ExpertExchange>> exchanges;  // null: alone
  std::unique_ptr<SliceExchange> slice_exchange;           // null: experts here are whole
  std::unique_ptr<OwnerExchange> owner_exchange;           // null: heads are not split
  std::unique_ptr<MoeBlock> moe;
  AttentionPart attention;
  KvCache kv;                                       // in slots of the cache, in part
  std::vector<float> head_sums;                     // of `attention`, where heads are split
  std::shared_ptr<RoutingReplay> replay;            // null: the routers route
  std::unique_ptr<RoutingWatch> watch;              // null: nobody asks
  std::unique_ptr<ExpertHints> hints;               // null: ranks tell each other nothing
  std::unique_ptr<PlacementWatch> placement_watch;  // rank 0's; null: the placement stays
  std::vector<std::vector<uint64_t>> picks;         // as RankWork's; none where the placement stays
  Traffic traffic_before;                           // what was reset of the exchanges'
  Traffic traffic_at_change;                        // of the first exchange, since its reset
  ExpertCacheCounters counted_before;  // by caches of placements before, since the reset
  std::vector<Sequence> sequences;
  uint32_t sequences_here = 0;  // with their keys and values on one rank, at most
  Owners owners;
  uint32_t steps = 0;
  uint32_t layer_now = 0;   // that is computed
  uint32_t router_now = 0;  // the next one of the layers that have routers
  bool halves_now = false;
  bool may_halve = false;  // all ranks' experts are whole and in memory: a layer may be asked twice
  PassChoice pass_choice;
  RoundRates links;  // where the layout is to be chosen
  EngineCounters counters;
  uint64_t load_bytes = 0;
  Spans* spans = nullptr;
  std::function<bool()> stop;

 private:
  void pump_reads();
  void record(uint32_t track, const char* what, uint32_t layer, double begin) const;
  Status lay_rows(const StepPlan& plan);
  Status run_layers(const RankCommand& command);
  Status run_layer(uint32_t layer, ExchangeStep step);
  Status attend(uint32_t layer);
  Status run_experts(uint32_t layer, const ExchangeStep& step);
  void choose_owners();
  Status gather_rows(uint32_t layer);
  void count_picks();
  void norm_rows(std::span<const uint32_t> of, const std::vector<float>& weight);
  void add_update(std::span<const uint32_t> to);
  // engine_logits.cc
  Status give_logits(const LogitsSink& sink, const BestSink& best);
  Status give_home_logits(const std::vector<WantedRow>& all, bool only_best, const LogitsSink& sink,
                          const BestSink& best);
  Status send_home_logits(const std::vector<WantedRow>& all, bool only_best);
  Status give_split_logits(const std::vector<WantedRow>& all, bool only_best,
                           const LogitsSink& sink, const BestSink& best);
  Status give_split_best(std::span<const WantedRow> some, VocabRange mine, const BestSink& best);
  Status join_logits(size_t rows, VocabRange mine);
  Result<std::span<const WantedRow>> compute_some(std::span<const WantedRow> mine, size_t at,
                                                  VocabRange range);
  std::span<const float> logits_of(size_t i, VocabRange range) const;

  friend class Engine;
  double pumped_seconds = 0;
  std::vector<StepRow> rows;           // whose attention is computed here
  std::vector<uint32_t> all_rows;      // 0 … rows − 1
  std::vector<uint32_t> own_rows;      // of them, those whose experts this rank asks for
  std::vector<uint32_t> rows_of_rank;  // [ranks] rows whose experts they ask for
  std::vector<uint8_t> row_owners;     // [rows] where heads are split
  // [rows] behind the last router and the one before, where heads are split
  std::array<std::vector<uint64_t>, 2> good_owners;
  std::vector<WantedRow> wanted;
};

}  // namespace switchyard
