#include "launch/engine_flags.h"

#include <fmt/format.h>
#include <malloc.h>
#include <sys/sysinfo.h>

#include <algorithm>
#include <ostream>

#include "comm/world.h"
#include "experts/expert_source.h"
#include "launch/bootstrap.h"
#include "launch/cpu_limit.h"
#include "launch/machine.h"
#include "launch/memory_limit.h"
#include "launch/options.h"
#include "runtime/base/align.h"
#include "runtime/base/units.h"
#include "runtime/device/device.h"
#include "runtime/engine/engine_needs.h"

namespace switchyard {
namespace {

constexpr uint32_t kThreadsMax = 1024;
constexpr uint32_t kContextUnit = 16;
constexpr uint32_t kChunkMax = 1 << 20;

// The processors that this rank may use; where all ranks of a node may use all, its part of them.
uint32_t threads_of_rank() {
  const uint32_t usable = usable_threads("");
  const bool all = usable >= static_cast<uint32_t>(::get_nprocs());
  return all ? node_share(process_environment()).of_threads(usable) : usable;
}

Result<uint64_t> memory_bytes(const EngineFlags& flags) {
  if (flags.memory) return *flags.memory;
  if (const auto allowance = memory_allowance("")) {
    return node_share(process_environment()).of_bytes(default_memory_bytes(allowance->bytes));
  }
  return fail(Code::kNoMemory, "cannot tell how much memory there is", "/proc/meminfo",
              "give --memory SIZE");
}

Status choose_device(const EngineFlags& flags, EngineOptions& options) {
  auto device = make_device(flags.device.value_or("none"));
  if (!device && device.error().where.empty()) device.error().where = "--device";
  options.device = TRY(std::move(device));
  return {};
}

// A share is one of the experts that a rank holds; a size is the process's, whose ranks share it.
Result<uint64_t> expert_bytes_max(const EngineFlags& flags, const ModelSource& source,
                                  const TeamOptions& team) {
  if (!flags.expert_memory) return UINT64_MAX;
  const auto own = rank_experts(source, team, team.placement);
  const ExpertSource& experts = own ? *own : source.experts();
  auto bytes =
      parse_size_or_share(*flags.expert_memory, experts.keys().size() * experts.slot_bytes());
  if (bytes) *bytes /= team.threads;
  if (!bytes) bytes.error().where = "--expert-memory";
  return bytes;
}

}  // namespace

void EngineFlags::add_to(OptionList& list) {
  list.count("-t,--threads", threads, 1, kThreadsMax, "default: the cores this process may use");
  list.size("--memory", memory,
            "budget of the whole process; default: what the machine and its cgroup allow");
  list.text("--expert-memory", "SIZE|P%", expert_memory, "what of it the experts get at most");
  list.text("--isa", "NAME", isa, "scalar, avx2 or avx512; default: the best there is");
  list.text("--policy", "NAME", policy,
            fmt::format("which expert leaves a full cache: {}; default: {}", policy_names(false),
                        kPolicyDefault));
  list.text("--predictor", "NAME", predictor,
            fmt::format("what guesses the experts to come: {}; default: {}, in layout B none",
                        predictor_names(), kPredictorDefault));
  list.flag("--no-prefetch", no_prefetch, "guesses choose what stays, and start no reads");
  list.flag("--buffered", buffered,
            "reads experts through the page cache: for a model that fits there beside --memory");
  list.text("--stage", "DIR", stage,
            "copies this process's experts there first, best to a drive of its host, and reads "
            "them from there; the copy is gone with the process");
  list.text("--drive", "RATE", drive, "holds reads of experts to this rate, 950MB/s");
  list.text("--device", "none|sim:CAPACITY,RATE,LATENCY|cuda[:N]", device,
            "where experts lie beside host memory, such as sim:8GiB,16GB/s,10us: a simulated GPU");
  list.text("--order", "FILE", order,
            "the order in which experts are summed, as switchyard group wrote it; another order is "
            "another model, to the bit");
  list.text(
      "--faults", "SEED[,KIND[=RATE]...]", faults,
      "spoils reads: eio, short-read, bit-flip, delay; a rate of 0.01 unless given; what was "
      "spoilt is spared the next time, unless the rate is 1; an expert whose reads fail twice "
      "running ends the run");
  list.count("--chunk", chunk, 1, kChunkMax, "tokens of a prompt computed together at most");
  team.add_to(list);
}

uint32_t default_context(uint64_t prompt, int64_t tokens, uint32_t limit) {
  const uint64_t wanted = prompt + (tokens < 0 ? kOpenEndedTokens : static_cast<uint64_t>(tokens));
  return static_cast<uint32_t>(std::min<uint64_t>(round_up(wanted, kContextUnit), limit));
}

Result<EngineOptions> engine_options(const EngineFlags& flags, const ModelSource& source,
                                     uint32_t context, uint64_t other_bytes, World* world) {
  EngineOptions options;
  options.memory_bytes = TRY(memory_bytes(flags));
  options.threads = flags.threads ? *flags.threads : threads_of_rank();
  options.isa = flags.isa.value_or("");
  options.policy = flags.policy.value_or(options.policy);
  options.prefetch = !flags.no_prefetch;
  options.buffered_reads = flags.buffered;
  options.stage = flags.stage.value_or("");
  options.faults = flags.faults.value_or("");
  if (flags.drive) {
    auto rate = parse_rate(*flags.drive);
    if (!rate) rate.error().where = "--drive";
    options.drive_bytes_per_second = TRY(std::move(rate));
  }
  TRY_STATUS(choose_device(flags, options));
  if (const auto figures = load_machine_figures()) {
    options.memory_bytes_per_second = figures->memory_bytes_per_second;
  }
  options.chunk = flags.chunk.value_or(0);
  TRY_STATUS(choose_team(flags.team, source, world, options));
  if (flags.team.learn_routing) ::malloc_trim(0);  // the trace took more than what it taught
  // Where heads are split guesses come a layer late, and cost more than they bring
  // (perf/README.md).
  const bool late = options.team.layout == Layout::kB;
  options.predictor = flags.predictor.value_or(late ? "none" : options.predictor);
  options.expert_bytes_max = TRY(expert_bytes_max(flags, source, options.team));
  options.context = context;
  options.other_bytes = other_bytes;
  return options;
}

Result<std::unique_ptr<ModelSource>> open_model(const EngineFlags& flags, const std::string& path,
                                                const GivenTexts& given) {
  auto source = TRY(ModelSource::open(path, given));
  if (flags.order) TRY_STATUS(source->read_expert_order(*flags.order));
  return source;
}

Status check_context(const std::optional<uint32_t>& context, const ModelSource& source) {
  const uint32_t positions_max = source.spec().positions_max;
  if (context.value_or(0) <= positions_max) return {};
  return fail(Code::kUsage, fmt::format("--context {} is past the model's {} positions", *context,
                                        positions_max));
}

void print_warning(const std::string& text, Console& console) {
  console.err << "warning: " << to_line({Code::kFailed, text, {}, {}}) << std::endl;
}

Status feed_tokens(Engine& engine, SequenceId sequence, std::span<const TokenId> ids,
                   LogitsWanted wanted, const Engine::LogitsSink& sink,
                   const std::function<bool(size_t fed)>& stop) {
  const size_t chunk = engine.memory_plan().chunk;
  for (size_t fed = 0; fed < ids.size();) {
    const size_t count = std::min(chunk, ids.size() - fed);
    const auto part = ids.subspan(fed, count);
    const bool last = fed + count == ids.size();
    const LogitsWanted now = wanted == LogitsWanted::kLast && !last ? LogitsWanted::kNone : wanted;
    StepPlan plan;
    plan.parts.push_back({sequence, {part.begin(), part.end()}, now, true});
    Status done = engine.step(plan, sink);
    if (!done && done.error().code == Code::kStopped) return {};
    if (!done) return done;
    fed += count;
    if (stop && stop(fed)) return {};
  }
  return {};
}

}  // namespace switchyard
