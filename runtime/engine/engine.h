#pragma once

// The model at work: weights, KV cache and the layer loop of one process.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "experts/device_tier.h"
#include "experts/policies/registry.h"
#include "experts/predictors/registry.h"
#include "experts/prefetcher.h"
#include "runtime/base/result.h"
#include "runtime/engine/model_source.h"
#include "runtime/engine/placement_watch.h"
#include "runtime/engine/routing_replay.h"
#include "runtime/engine/routing_watch.h"
#include "runtime/engine/team.h"
#include "scheduler/memory_plan.h"
#include "scheduler/step_plan.h"

namespace switchyard {

struct EngineOptions {
  uint64_t memory_bytes = 0;               // the budget of the whole process
  uint64_t expert_bytes_max = UINT64_MAX;  // of it, for expert slots at most
  uint64_t other_bytes = 0;                // what the caller holds beside the engine (tokenizer)
  uint32_t threads = 1;
  std::string isa;  // "": the best
  std::string policy = std::string(kPolicyDefault);
  std::string predictor = std::string(kPredictorDefault);
  bool prefetch = true;               // false: guesses choose what stays, and start no reads
  std::string faults;                 // storage/faulty_queue.h; "": none
  bool buffered_reads = false;        // of experts: through the page cache
  std::string stage;                  // folder that experts are copied to first; "": none
  double drive_bytes_per_second = 0;  // holds reads to this rate; 0: as fast as they come
  // Where experts lie beside host memory, whose budget it does not touch; null: nowhere.
  std::shared_ptr<Device> device = nullptr;
  // What tokens will need, for the policy; null: nothing is known.
  std::shared_ptr<const TokenForecast> forecast = nullptr;
  // Of the host, to weigh copies and layouts against; 0: an assumption.
  double memory_bytes_per_second = 0;
  Spans* spans = nullptr;  // records what goes on; outlives the engine
  // Takes the routers' place, for the source's top-k; null: they route.
  std::shared_ptr<RoutingReplay> replay = nullptr;
  RoutingSink on_routing = {};  // gets every step's routes; empty: nothing is recorded
  TeamOptions team = {};        // the ranks that share the work
  uint32_t context = 0;         // positions of a sequence at most
  uint32_t sequences = 1;       // open at once at most
  uint32_t chunk = 0;           // tokens computed together at most; 0: as memory allows
};

// What the engine did so far, on this rank. Expert bytes and reads count since the last
// reset_counters().
struct EngineCounters {
  uint32_t expert_slots = 0;  // in memory now, while keys and values take what they take
  uint64_t expert_hits = 0;
  uint64_t expert_misses = 0;
  uint64_t expert_bytes_read = 0;
  uint64_t weight_bytes_used =
      0;                     // dense and expert bytes that products read, once per step and matrix
  double stall_seconds = 0;  // as ExpertCacheCounters has it
  uint64_t read_retries = 0;
  PrefetchCounters prefetch;
  DeviceTierCounters device;
  std::vector<LayerUses> layers;  // [the model's layers] of experts
};

// What one rank did since the last reset_counters().
struct RankReport {
  uint64_t expert_hits = 0;
  uint64_t expert_misses = 0;
  uint64_t expert_bytes_read = 0;
  PrefetchCounters prefetch = {};
  uint64_t experts = 0;  // that it holds …
  uint64_t slices = 1;   // … of each the slice of one among so many ranks
  uint64_t peak_rss_bytes = 0;
  Traffic traffic = {};
  // Bytes to each rank for attention whose heads are split; empty: they are not.
  std::vector<uint64_t> attention_bytes_to = {};
  RankWork work = {};  // where the placement may change; since the engine began
};

struct LoadProgress {
  std::function<void(uint64_t bytes_done, uint64_t bytes_all)> report;  // may be empty
};

class Engine {
 public:
  // How create() would spend the budget; loads nothing.
  static Result<MemoryPlan> plan(const ModelSource& source, const EngineOptions& options);
  // Slots that keys and values of `positions` in every sequence take from experts.
  static uint32_t kv_slots(const ModelSource& source, const EngineOptions& options,
                           uint64_t positions);
  // The smallest memory_bytes that create() accepts.
  static Result<uint64_t> minimum_bytes(const ModelSource& source, const EngineOptions& options);

  // Plans the memory, loads the dense weights and fills the slots. kNoMemory before anything is
  // loaded when the budget is too small; kConfig for a device that nothing here can compute from,
  // and for ranks that were started differently. `source` must outlive the engine. In a team every
  // rank creates its engine at the same time; rank 0 then gives orders, the others serve().
  static Result<std::unique_ptr<Engine>> create(const ModelSource& source,
                                                const EngineOptions& options,
                                                const LoadProgress& progress);
  ~Engine();

  const ModelSpec& spec() const;
  const MemoryPlan& memory_plan() const;
  uint32_t device_slots() const;
  const char* isa() const;
  const std::string& read_path() const;  // "io_uring" or what is used instead
  const std::string& warning() const;    // one line to show the user; may be empty
  uint64_t load_bytes() const;           // dense weights and experts read while loading
  // What the optimum would have had in memory of the last tokens' experts; nothing where all fit,
  // too little was generated or ranks share the experts. Takes some milliseconds.
  std::optional<double> oracle_hit_rate() const;
  const Foresight* foresight() const;  // null: nothing is guessed, or nothing needs to be

  // Does what rank 0's engine says until that one is gone. Blocks. Not for rank 0.
  Status serve();
  // Of every rank, rank 0 first.
  Result<std::vector<RankReport>> rank_reports();
  uint32_t ranks() const;
  Layout layout() const;  // what was asked for, or B where auto became that
  // So far, each up to the last rank_reports(). On rank 0.
  const std::vector<PlacementChange>& placement_changes() const;

  // An empty sequence. kNoMemory when `sequences` are open already; a team's errors. What is known
  // of its `beginning` may choose the rank it lives on. With none open experts may first change
  // ranks (TeamOptions::adapt), which blocks for their reads.
  Result<SequenceId> open_sequence(std::span<const TokenId> beginning = {});
  void close_sequence(SequenceId sequence);
  uint32_t positions(SequenceId sequence) const;  // tokens it holds

  // Computes one step: at most memory_plan().chunk tokens. `sink` gets each wanted row of logits
  // [vocab], in the order of the plan; the row lives until the call returns. kUsage when a sequence
  // would grow past the context or a token id is outside the vocabulary; other errors name layer
  // and expert. After an error the sequences of the plan hold what they held before.
  using LogitsSink = std::function<void(SequenceId, uint32_t position, std::span<const float>)>;
  // The same for parts of which only the best id is wanted.
  using BestSink = std::function<void(SequenceId, uint32_t position, TokenId)>;
  Status step(const StepPlan& plan, const LogitsSink& sink, const BestSink& best = {});

  // Asked before every layer (in a team: before every step), on the thread of step(); when it says
  // true, step() returns kStopped.
  void set_stop(std::function<bool()> stop);

  const EngineCounters& counters() const;
  void reset_counters();

 private:
  class Impl;
  explicit Engine(std::unique_ptr<Impl> impl);
  static Result<std::unique_ptr<Engine>> load(const ModelSource& source,
                                              const EngineOptions& options,
                                              const LoadProgress& progress);
  std::unique_ptr<Impl> impl_;
};

}  // namespace switchyard
