// bench: how fast a model runs here, beside what this machine gives at best.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "experts/expert_source.h"
#include "experts/trace_file.h"
#include "launch/bench_phases.h"
#include "launch/bench_report.h"
#include "launch/commands/commands.h"
#include "launch/cpu_limit.h"
#include "launch/crew.h"
#include "launch/engine_flags.h"
#include "launch/json_output.h"
#include "launch/machine.h"
#include "launch/memory_limit.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/probes.h"
#include "launch/run_report.h"
#include "launch/traffic_report.h"
#include "runtime/base/units.h"
#include "runtime/device/worker_pool.h"
#include "runtime/kernels/kernel_table.h"
#include "storage/input_file.h"

namespace switchyard {
namespace {

constexpr uint32_t kTokensDefault = 64;
constexpr uint32_t kRepeatDefault = 5;
constexpr uint32_t kDecodePrompt = 8;  // tokens a decoded sequence begins with
constexpr uint32_t kWarmPrompt = 64;
constexpr uint32_t kWarmTokens = 4;
constexpr double kProbeSeconds = 0.2;
constexpr uint64_t kProbeShare = 8;     // of --memory one part at most is the memory test's
constexpr uint64_t kCachesOfProbe = 4;  // it measures memory when it is so many caches large
constexpr uint64_t kDriveBlocksMin = 4;

struct BenchOptions {
  std::string model;
  EngineFlags engine;
  std::optional<uint32_t> batch;
  std::optional<uint32_t> prompt;
  std::optional<uint32_t> tokens;
  std::optional<uint32_t> repeat;
  std::optional<uint64_t> seed;
  std::optional<std::string> replay_routing;
  std::optional<std::string> json;

  // What is learned from is mapped to the model as what is replayed.
  EngineFlags flags() const {
    EngineFlags flags = engine;
    flags.team.map_routing = replay_routing.has_value();
    return flags;
  }
};

// The figures, in the order of the table.
struct BenchRows {
  BenchRow decode_rate{"decode", "decode", "tokens_per_second", "tok/s", "", {}, {}};
  BenchRow decode_time{"decode step", "decode", "ms_per_token", "ms/token", "", {}, {}};
  BenchRow decode_weights{
      "weights used", "decode", "weights_gb_per_s", "GB/s", "memory_gb_per_s", {}, {}};
  BenchRow prefill_rate{"prefill", "prefill", "tokens_per_second", "tok/s", "", {}, {}};
  BenchRow prefill_flops{
      "its products", "prefill", "gflop_per_s", "GFLOP/s", "fma_gflop_per_s", {}, {}};
  BenchRow decode_hits{"experts there", "decode", "hit_rate", "0 … 1", "", {}, {}};
  BenchRow decode_stall{"waiting", "decode", "stall_ms_per_token", "ms/token", "", {}, {}};
  // Bytes of experts that were not there when the step began, read ahead or not.
  BenchRow decode_missed{
      "decode misses", "reads", "missed_gb_per_s", "GB/s", "drive_gb_per_s", {}, {}};
  BenchRow decode_reads{
      "decode reads", "reads", "decode_gb_per_s", "GB/s", "drive_gb_per_s", {}, {}};
  BenchRow prefill_reads{
      "prefill reads", "reads", "prefill_gb_per_s", "GB/s", "drive_gb_per_s", {}, {}};

  // Those that were measured.
  std::vector<BenchRow> list() const {
    std::vector<BenchRow> rows;
    for (const BenchRow* row :
         {&decode_rate, &decode_time, &decode_weights, &prefill_rate, &prefill_flops, &decode_hits,
          &decode_stall, &decode_missed, &decode_reads, &prefill_reads}) {
      if (!row->values.empty()) rows.push_back(*row);
    }
    return rows;
  }
};

// Null: the routers route. The model computes as many experts a token as the trace has.
Result<std::shared_ptr<RoutingReplay>> routing_replay(const BenchOptions& options,
                                                      ModelSource& source, Console& console) {
  if (!options.replay_routing) return nullptr;
  std::string warning;
  const RoutingTrace trace = TRY(read_trace(*options.replay_routing, warning));
  if (!warning.empty()) print_warning(warning, console);
  auto replay = RoutingReplay::create(trace, source.spec(), options.batch.value_or(1));
  if (!replay) {
    replay.error().where = *options.replay_routing;
    return tl::unexpected(replay.error());
  }
  source.set_top_k(replay->shape().top_k);
  return std::make_shared<RoutingReplay>(*std::move(replay));
}

// On another rank than 0.
Result<int> serve_bench(const BenchOptions& options, Console& console) {
  return serve_rank(options.flags(), options.model, console,
                    [&](ModelSource& source, EngineOptions& engine) -> Status {
                      engine.replay = TRY(routing_replay(options, source, console));
                      return {};
                    });
}

// Everything one call of `bench` does.
class Bench {
 public:
  Bench(const BenchOptions& options, Console& console)
      : options_(options),
        console_(console),
        batch_(options.batch.value_or(1)),
        prompt_(options.prompt.value_or(kPromptDefault)),
        tokens_(options.tokens.value_or(kTokensDefault)),
        repeat_(options.repeat.value_or(kRepeatDefault)),
        seed_(options.seed.value_or(1)) {}

  Result<int> execute() {
    TRY_STATUS(prepare());
    TRY_STATUS(warm_up());
    for (uint32_t i = 0; i < repeat_; ++i) TRY_STATUS(measure_once(i));
    std::ostream& out = options_.json == "-" ? console_.err : console_.out;
    out << heading() << bench_table(rows_.list());
    if (!ranks_.empty()) {
      out << '\n'
          << traffic_summary(engine_->layout(), ranks_)
          << placement_summary(engine_->placement_changes());
    }
    out << std::flush;
    if (options_.json) TRY_STATUS(write_report());
    return 0;
  }

 private:
  Status prepare() {
    if (options_.json) TRY_STATUS(check_json_target(*options_.json));
    source_ = TRY(open_model(options_.engine,
                             TRY(resolve_model(options_.model, HubEnvironment::of_process()))));
    const auto replay = TRY(routing_replay(options_, *source_, console_));
    const uint32_t positions_max = source_->spec().positions_max;
    if (!options_.prompt) prompt_ = std::min(prompt_, positions_max);
    kernels_ = TRY(select_kernels(options_.engine.isa.value_or("")));
    TRY_STATUS(prepare_probes());
    const uint32_t context = std::max(prompt_, kDecodePrompt + std::max(tokens_, kWarmTokens));
    engine_options_ =
        TRY(engine_options(options_.flags(), *source_, context,
                           options_.engine.memory ? probe_bytes() : 0, console_.world));
    engine_options_.sequences = batch_;
    engine_options_.replay = replay;
    if (replay && !options_.engine.predictor && !replay->has_answers(RouterQuery::kNextLayer)) {
      engine_options_.predictor = "none";
      console_.err << "the trace holds no answers of routers: predictor none\n";
    }
    if (engine_options_.context > positions_max) {
      return fail(Code::kUsage, fmt::format("{} positions are past the model's {}",
                                            engine_options_.context, positions_max));
    }
    engine_ = TRY(start_engine(*source_, engine_options_, console_));
    reads_ = engine_->memory_plan().slots < source_->experts().keys().size();
    return {};
  }

  // Before the default budget is asked for: what the memory test takes is not there for the model.
  Status prepare_probes() {
    const auto allowance = memory_allowance("");
    const EngineFlags& flags = options_.engine;
    pool_ = std::make_unique<WorkerPool>(flags.threads ? *flags.threads : usable_threads(""));
    uint64_t bytes = probe_memory_bytes(allowance ? allowance->bytes : 0);
    if (flags.memory) {
      const uint64_t of_rank = *flags.memory / flags.team.ranks.value_or(1);
      bytes = std::min(bytes,
                       std::max(of_rank / kProbeShare, MemoryProbe::bytes_min(pool_->threads())));
    }
    memory_ = TRY(MemoryProbe::create(*pool_, bytes));
    return {};
  }

  // In flight in the test of the drive: less where --memory is small.
  uint32_t drive_blocks() const {
    const uint64_t ranks = options_.engine.team.ranks.value_or(1);
    const uint64_t share = options_.engine.memory.value_or(UINT64_MAX) / ranks / kProbeShare;
    return static_cast<uint32_t>(
        std::clamp<uint64_t>(share / kDriveProbeBlockBytes, kDriveBlocksMin, kDriveProbeDepth));
  }

  uint64_t probe_bytes() const { return memory_->bytes() + drive_blocks() * kDriveProbeBlockBytes; }

  // Random prompts; those of another `stream` are others.
  Result<Phase> prefill(uint64_t stream, uint32_t tokens) {
    return time_prefill(*engine_, random_ids(seed_, stream << 32, tokens, source_->spec().vocab));
  }
  Result<Phase> decode(uint64_t stream, uint32_t tokens) {
    std::vector<std::vector<TokenId>> prompts;
    for (uint32_t i = 1; i <= batch_; ++i) {
      prompts.push_back(
          random_ids(seed_, (stream << 32) + i, kDecodePrompt, source_->spec().vocab));
    }
    return time_decode(*engine_, prompts, tokens);
  }

  Status warm_up() {
    TRY(prefill(0, std::min(prompt_, kWarmPrompt)));
    TRY(decode(0, kWarmTokens));
    return {};
  }

  double memory_rate() { return memory_->measure(*kernels_, kProbeSeconds).bytes_per_second; }
  double fma_rate() const { return measure_fma(*pool_, *kernels_, kProbeSeconds); }

  // Each phase lies between two tests of its bound; the faster one counts.
  Status measure_once(uint32_t repeat) {
    const double memory_before = memory_rate();
    const Phase decoded = TRY(decode(repeat + 1, tokens_));
    const double memory = std::max(memory_before, memory_rate());
    const double fma_before = fma_rate();
    const Phase filled = TRY(prefill(repeat + 1, prompt_));
    const double fma = std::max(fma_before, fma_rate());
    ranks_ = decoded.ranks;
    add_decode(decoded, memory);
    add_prefill(filled, fma);
    if (reads_) add_reads(decoded, filled, TRY(drive_rate()));
    console_.err << fmt::format("{} of {}: decode {:.2f} tok/s, prefill {:.1f} tok/s\n", repeat + 1,
                                repeat_, rows_.decode_rate.values.back(),
                                rows_.prefill_rate.values.back())
                 << std::flush;
    return {};
  }

  void add_decode(const Phase& phase, double memory) {
    const auto bytes = static_cast<double>(phase.counters.weight_bytes_used);
    rows_.decode_rate.add(phase.per_second(static_cast<double>(tokens_) * batch_));
    rows_.decode_time.add(1e3 * phase.seconds / tokens_);
    rows_.decode_weights.add(phase.per_second(bytes) / 1e9, memory / 1e9);
  }

  void add_prefill(const Phase& phase, double fma) {
    const double flops = prompt_product_flops(source_->spec(), prompt_);
    rows_.prefill_rate.add(phase.per_second(prompt_));
    rows_.prefill_flops.add(phase.per_second(flops) / 1e9, fma / 1e9);
  }

  void add_reads(const Phase& decoded, const Phase& filled, double drive) {
    const auto rate = [](const Phase& phase) {
      return phase.per_second(static_cast<double>(phase.counters.expert_bytes_read)) / 1e9;
    };
    const EngineCounters& decode = decoded.counters;
    const uint64_t missed = decode.expert_misses + decode.prefetch.hits;
    const auto uses = static_cast<double>(decode.expert_hits + decode.expert_misses);
    const auto missed_bytes = static_cast<double>(missed * source_->experts().expert_bytes());
    rows_.decode_hits.add(1 - static_cast<double>(missed) / uses);
    rows_.decode_stall.add(1e3 * decode.stall_seconds / tokens_);
    prefetch_ = decode.prefetch;
    rows_.decode_missed.add(decoded.per_second(missed_bytes) / 1e9, drive / 1e9);
    rows_.decode_reads.add(rate(decoded), drive / 1e9);
    rows_.prefill_reads.add(rate(filled), drive / 1e9);
  }

  // Of the drive that holds the experts, on one of their own files.
  Result<double> drive_rate() const {
    const ExpertSource& experts = source_->experts();
    const auto pieces = experts.pieces(experts.keys().front());
    const double given =
        TRY(measure_drive_file(pieces.front().file->path(), kDriveProbeSeconds, drive_blocks()))
            .bytes_per_second;
    const double held_to = engine_options_.drive_bytes_per_second;
    return held_to > 0 ? std::min(given, held_to) : given;
  }

  // The memory test may read what the caches keep.
  std::string probe_note() const {
    const uint64_t cache = last_cache_bytes();
    if (memory_->bytes() >= kCachesOfProbe * cache) return {};
    return fmt::format(
        "the memory test had {}, the last cache holds {}: it measures that cache too{}\n",
        format_size(memory_->bytes()), format_size(cache),
        options_.engine.memory ? "; a larger --memory tells more" : "");
  }

  bool routing_mapped() const {
    if (!engine_options_.replay) return false;
    const TraceShape& recorded = engine_options_.replay->recorded_shape();
    return recorded.layers.size() != source_->spec().sparse_layers() ||
           recorded.experts != source_->spec().moe.experts;
  }

  std::string mapping_note() const {
    if (!routing_mapped()) return {};
    const TraceShape& recorded = engine_options_.replay->recorded_shape();
    return fmt::format("routing mapped from {} layers of {} experts\n", recorded.layers.size(),
                       recorded.experts);
  }

  std::string heading() const {
    const MemoryPlan& plan = engine_->memory_plan();
    return fmt::format(
        "{}: {}, {} threads, {}; budget {}, {} of {} experts in memory, chunks of {}; reads by {}\n"
        "decode: {} tokens, {} a step; prefill: {} tokens; {} repeats\n{}{}\n",
        options_.model, source_->spec().family, engine_options_.threads, engine_->isa(),
        format_size(plan.budget_bytes), plan.slots, source_->experts().keys().size(), plan.chunk,
        engine_->read_path(), tokens_, batch_, prompt_, repeat_, mapping_note(), probe_note());
  }

  Status write_report() {
    Json report = bench_json(rows_.list());
    const MemoryPlan& plan = engine_->memory_plan();
    report.update(
        {{"model", options_.model},
         {"family", source_->spec().family},
         {"kind", source_->kind()},
         {"batch", batch_},
         {"prompt_tokens", prompt_},
         {"generated_tokens", tokens_},
         {"repeats", repeat_},
         {"routing", options_.replay_routing ? *options_.replay_routing : "the model's"},
         {"predictor", engine_options_.predictor},
         {"threads", engine_options_.threads},
         {"isa", engine_->isa()},
         {"layout", ranks_.empty() ? "A" : layout_used(engine_->layout(), traffic_sums(ranks_))},
         {"ranks", engine_->ranks()},
         {"host", host_name()},
         {"when", utc_now()},
         {"chunk", plan.chunk},
         {"memory",
          {{"budget_bytes", plan.budget_bytes},
           {"planned_bytes", plan.total_bytes()},
           {"probe_bytes", memory_->bytes()},
           {"peak_rss_bytes", peak_rss_bytes(engine_options_.device.get())}}},
         {"experts", {{"slots", plan.slots}, {"count", source_->experts().keys().size()}}},
         {"io", {{"path", engine_->read_path()}}},
         {"prefetch_of_last_decode",
          {{"started", prefetch_.started},
           {"in_time", prefetch_.hits},
           {"late", prefetch_.late},
           {"useful_bytes", prefetch_.useful_bytes},
           {"wasted_bytes", prefetch_.wasted_bytes},
           {"steps", prefetch_.steps},
           {"steps_rested", prefetch_.steps_rested}}}});
    if (routing_mapped()) {
      const TraceShape& recorded = engine_options_.replay->recorded_shape();
      report["routing_mapped_from"] = {{"layers", recorded.layers.size()},
                                       {"experts", recorded.experts}};
    }
    if (!ranks_.empty()) {
      report["traffic_of_last_decode"] = traffic_json(engine_->layout(), ranks_);
      report["placement"] = placement_json(engine_->placement_changes());
    }
    return write_json(*options_.json, report, console_);
  }

  const BenchOptions& options_;
  Console& console_;
  const uint32_t batch_;
  uint32_t prompt_;
  const uint32_t tokens_, repeat_;
  const uint64_t seed_;
  std::unique_ptr<ModelSource> source_;
  const Kernels* kernels_ = nullptr;
  std::unique_ptr<WorkerPool> pool_;
  std::optional<MemoryProbe> memory_;
  EngineOptions engine_options_;
  EngineHandle engine_;
  bool reads_ = false;             // not all experts fit
  PrefetchCounters prefetch_;      // of the last decoding
  std::vector<RankReport> ranks_;  // likewise; none for one rank
  BenchRows rows_;
};

Command::Body prepare_bench(OptionList& list) {
  auto options = std::make_shared<BenchOptions>();
  list.positional("MODEL", options->model, "a folder, ORG/NAME[@REV] in the HF cache, or a pack");
  list.count("--batch", options->batch, 1, 4096, "sequences decoded in a step; default: 1");
  list.count("--prompt", options->prompt, 1, 1 << 20,
             "tokens of the prompt; default: 512, or what the model takes");
  list.count("-n,--tokens", options->tokens, 1, 1 << 20, "tokens to decode; default: 64");
  list.count("--repeat", options->repeat, 1, 1000,
             "repeats, of which medians are given; default: 5");
  list.seed("-s,--seed", options->seed, "of the random prompts; default: 1");
  list.text("--replay-routing", "FILE", options->replay_routing,
            "routes tokens as this routing trace does, whatever the routers say");
  options->engine.add_to(list);
  list.output("--json", "FILE", options->json, "the same as JSON; -: to standard output, alone");
  return {.run = [options](Console& console) { return Bench(*options, console).execute(); },
          .serve = [options](Console& console) { return serve_bench(*options, console); }};
}

}  // namespace

Command bench_command() {
  return {
      "bench",
      "how fast a model runs here, beside what this machine gives at best; of an explicit --memory "
      "an eighth at most is for the memory test, too little if the last cache is near that",
      "  switchyard bench MODEL\n"
      "  switchyard bench MODEL --memory 8GiB --batch 4 --prompt 128 -n 32 --json bench.json\n",
      prepare_bench};
}

}  // namespace switchyard
