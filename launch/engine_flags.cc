#include "launch/engine_flags.h"

#include <fmt/format.h>

#include <algorithm>
#include <ostream>

#include "comm/world.h"
#include "experts/expert_source.h"
#include "launch/cpu_limit.h"
#include "launch/machine.h"
#include "launch/memory_limit.h"
#include "launch/options.h"
#include "launch/parse.h"
#include "launch/version.h"
#include "runtime/base/align.h"
#include "runtime/base/units.h"
#include "runtime/device/device.h"

namespace switchyard {
namespace {

constexpr uint32_t kThreadsMax = 1024;
constexpr uint32_t kContextUnit = 16;
constexpr uint32_t kChunkMax = 1 << 20;

Result<uint64_t> memory_bytes(const EngineFlags& flags) {
  if (flags.memory) return *flags.memory;
  if (const auto allowance = memory_allowance("")) return default_memory_bytes(allowance->bytes);
  return fail(Code::kNoMemory, "cannot tell how much memory there is", "/proc/meminfo",
              "give --memory SIZE");
}

// And what of this machine its use depends on.
Status choose_device(const EngineFlags& flags, EngineOptions& options) {
  auto device = make_device(flags.device.value_or("none"));
  if (!device && device.error().where.empty()) device.error().where = "--device";
  options.device = TRY(std::move(device));
  if (options.device == nullptr) return {};
  const auto figures = load_machine_figures();
  if (figures) options.memory_bytes_per_second = figures->memory_bytes_per_second;
  return {};
}

Result<uint64_t> expert_bytes_max(const EngineFlags& flags, const ModelSource& source) {
  if (!flags.expert_memory) return UINT64_MAX;
  const ExpertSource& experts = source.experts();
  auto bytes = parse_size_or_share(*flags.expert_memory,
                                   experts.keys().size() * experts.layout().slot_bytes());
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
            fmt::format("which expert leaves a full cache: {}; default: {}", policy_names(),
                        kPolicyDefault));
  list.text("--predictor", "NAME", predictor,
            fmt::format("what guesses the experts to come: {}; default: {}", predictor_names(),
                        kPredictorDefault));
  list.flag("--no-prefetch", no_prefetch, "guesses choose what stays, and start no reads");
  list.flag("--buffered", buffered,
            "reads experts through the page cache: for a model that fits there beside --memory");
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
  list.count("--ranks", ranks, 1, kRanksMax,
             "ranks that are threads of this process and share its memory and cores; under mpirun "
             "or srun each process is one");
  list.text("--layout", "auto|A|B|C", layout,
            "how ranks share the work: A: a sequence's attention on one, experts on all; B: heads "
            "of attention on all as well; C: as A, every row to every rank; auto: A or C by layer "
            "and step");
  list.text("--placement", "plain|grouped|replicated|random[:SEED]", placement,
            "which ranks hold which experts: in stretches by number, of the expert order (the "
            "default), those with hot experts on several ranks, or by chance");
  list.text("--owners", "none|predicted|random[:SEED]|adversarial", owners,
            "which rank takes a token before its router has spoken; default: none");
}

uint32_t default_context(uint64_t prompt, int64_t tokens, uint32_t limit) {
  const uint64_t wanted = prompt + (tokens < 0 ? kOpenEndedTokens : static_cast<uint64_t>(tokens));
  return static_cast<uint32_t>(std::min<uint64_t>(round_up(wanted, kContextUnit), limit));
}

namespace {

// "random" or "random:SEED": the seed.
std::optional<uint64_t> random_seed(std::string_view text) {
  constexpr std::string_view kRandom = "random";
  if (text == kRandom) return 1;
  if (!text.starts_with("random:")) return std::nullopt;
  const auto seed = parse_seed(text.substr(kRandom.size() + 1));
  return seed ? std::optional(*seed) : std::nullopt;
}

Result<Placement> choose_placement(const std::string& name, const ModelSource& source,
                                   uint32_t ranks) {
  const ExpertOrder& order = source.expert_order();
  const uint32_t experts = source.spec().moe.experts;
  if (name == "grouped") return place_by_order(order, ranks);
  if (name == "plain") return place_by_order(plain_order(order.size(), experts), ranks);
  if (const auto seed = random_seed(name)) {
    return place_at_random(order.size(), experts, ranks, *seed);
  }
  return fail(Code::kUsage, fmt::format("no placement is named '{}'", name), "--placement",
              "plain, grouped, replicated or random[:SEED]");
}

// How the ranks share the work; and what this process has, among its own.
Status choose_team(const EngineFlags& flags, const ModelSource& source, World* world,
                   EngineOptions& options) {
  TeamOptions& team = options.team;
  if (world != nullptr && flags.ranks) {
    return fail(Code::kUsage, "the ranks of this job are its processes", "--ranks",
                "leave it out, or start without mpirun and srun");
  }
  team.world = world;
  team.threads = flags.ranks.value_or(1);
  const uint32_t ranks = world != nullptr ? world->size() : team.threads;
  const auto layout = parse_layout(flags.layout.value_or("auto"));
  if (!layout) {
    return fail(Code::kUsage, fmt::format("no layout is named '{}'", *flags.layout), "--layout",
                "auto, A, B or C");
  }
  team.layout = *layout;
  team.owners = TRY(parse_owners(flags.owners.value_or("none")));
  team.placement = TRY(choose_placement(flags.placement.value_or("grouped"), source, ranks));
  team.facts = {{"build", version_text()}};
  options.memory_bytes /= team.threads;
  options.threads = std::max(1U, options.threads / team.threads);
  if (flags.expert_memory && flags.expert_memory->ends_with('%')) {
    options.expert_bytes_max /= ranks;  // a share of what a rank holds
  } else if (flags.expert_memory) {
    options.expert_bytes_max /= team.threads;
  }
  return {};
}

}  // namespace

Result<EngineOptions> engine_options(const EngineFlags& flags, const ModelSource& source,
                                     uint32_t context, uint64_t other_bytes, World* world) {
  EngineOptions options;
  options.memory_bytes = TRY(memory_bytes(flags));
  options.expert_bytes_max = TRY(expert_bytes_max(flags, source));
  options.threads = flags.threads ? *flags.threads : usable_threads("");
  options.isa = flags.isa.value_or("");
  options.policy = flags.policy.value_or(options.policy);
  options.predictor = flags.predictor.value_or(options.predictor);
  options.prefetch = !flags.no_prefetch;
  options.buffered_reads = flags.buffered;
  options.faults = flags.faults.value_or("");
  if (flags.drive) {
    auto rate = parse_rate(*flags.drive);
    if (!rate) rate.error().where = "--drive";
    options.drive_bytes_per_second = TRY(std::move(rate));
  }
  TRY_STATUS(choose_device(flags, options));
  options.chunk = flags.chunk.value_or(0);
  TRY_STATUS(choose_team(flags, source, world, options));
  options.context = context;
  options.other_bytes = other_bytes;
  return options;
}

Result<std::unique_ptr<ModelSource>> open_model(const EngineFlags& flags, const std::string& path) {
  auto source = TRY(ModelSource::open(path));
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
