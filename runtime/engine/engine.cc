#include "runtime/engine/engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/hash.h"
#include "runtime/base/spans.h"
#include "runtime/device/device.h"
#include "runtime/engine/engine_impl.h"
#include "runtime/engine/engine_needs.h"
#include "runtime/engine/round_rates.h"
#include "runtime/kernels/kernel_table.h"
#include "scheduler/split_cost.h"
#include "storage/input_file.h"

namespace switchyard {
namespace {

constexpr double kMemoryRateAssumed = 10e9;  // of a host that was not measured

PredictorShape predictor_shape(const ModelSpec& spec) {
  return {spec.sparse_layers(), spec.moe.experts, spec.moe.top_k};
}

// Null when nothing is to be guessed.
Result<std::unique_ptr<Foresight>> make_foresight(const ModelSpec& spec,
                                                  const EngineOptions& options) {
  const PredictorShape shape = predictor_shape(spec);
  auto predictor = TRY(make_predictor(options.predictor, shape));
  if (predictor == nullptr) return nullptr;
  return std::make_unique<Foresight>(std::move(predictor), shape, spec.router_layers());
}

uint64_t bytes_of(const Foresight* foresight) { return foresight ? foresight->bytes() : 0; }

// Of the dense weights, what is spread over ranks that split heads.
double split_weight_bytes(const ModelSource& source) {
  const ModelSpec& spec = source.spec();
  const AttentionSpec& attention = spec.attention;
  const auto layers = static_cast<double>(spec.layers.size());
  const double rows = 2.0 * layers * (attention.q_width() + attention.kv_width()) + spec.vocab;
  return rows * static_cast<double>(spec.hidden * dtype_bytes(source.experts().layout().dtype));
}

// On this rank: not where routes are replayed, nor where experts are to be read, which the other
// layouts do better (perf/README.md).
bool may_split(const ModelSource& source, EngineOptions options, uint64_t foresight_bytes) {
  if (options.replay) return false;
  options.team.layout = Layout::kB;
  const auto needs = memory_needs(source, options, foresight_bytes);
  if (!needs) return false;
  const auto plan = plan_memory(*needs, options.memory_bytes);
  return plan && plan->slots >= needs->experts;
}

// At the rate of this rank's part of its host's memory.
SplitQuestion split_question(const ModelSource& source, const EngineOptions& options) {
  const TeamOptions& team = options.team;
  const double of_host =
      options.memory_bytes_per_second > 0 ? options.memory_bytes_per_second : kMemoryRateAssumed;
  const auto& nodes = team.topology->node_of;
  const auto ranks_here = static_cast<double>(std::ranges::count(nodes, nodes[team.rank()]));
  return {.ranks = team.ranks(),
          .layers = static_cast<uint32_t>(source.spec().layers.size()),
          .sequences = options.sequences,
          .chunk = std::min(options.chunk == 0 ? kChunkDefault : options.chunk, options.context),
          .weight_bytes = split_weight_bytes(source),
          .weight_bytes_per_second = of_host / ranks_here,
          .row_bytes = static_cast<double>(source.spec().hidden * sizeof(float))};
}

// Auto becomes B where all ranks may and rank 0 expects that to be quicker. What it knows of the
// links serves to choose between A and C otherwise.
Result<RoundRates> settle_layout(const ModelSource& source, uint64_t foresight_bytes,
                                 EngineOptions& options) {
  World& world = *options.team.world;
  const RoundRates links = TRY(measure_links(world));
  const bool quicker =
      world.rank() != 0 || split_is_quicker(links, split_question(source, options));
  const bool split = quicker && may_split(source, options, foresight_bytes);
  if (TRY(agree_on_least(world, split ? 1 : 0)) != 0) options.team.layout = Layout::kB;
  return links;
}

// A hash of some of the weights: enough to tell checkpoints of one shape apart.
Result<std::string> sample_weights(const ModelSource& source) {
  constexpr size_t kSamples = 64;
  constexpr size_t kSampleBytes = 256;
  Hasher hasher;
  const auto add = [&](std::span<const std::byte> bytes) { hasher.update(bytes); };
  const auto norm = TRY(source.load_vector(source.spec().final_norm_name, source.spec().hidden));
  add(std::as_bytes(std::span(norm)));
  const std::vector<ExpertKey>& keys = source.experts().keys();
  const size_t apart = std::max<size_t>(1, keys.size() / kSamples);
  for (size_t i = 0; i < keys.size(); i += apart) {
    for (const ExpertPiece& piece : source.experts().pieces(keys[i])) {
      std::array<std::byte, kSampleBytes> sample{};
      const std::span<std::byte> some =
          std::span(sample).first(std::min<size_t>(kSampleBytes, piece.bytes));
      TRY_STATUS(piece.file->read(piece.offset + (piece.bytes - some.size()) / 2, some));
      add(some);
    }
  }
  return fmt::format("{} {}", source.kind(), hash_hex(hasher.digest()));
}

// What ranks must have in common.
Result<std::vector<TeamFact>> team_facts(const ModelSource& source, const EngineOptions& options) {
  const TeamOptions& team = options.team;
  std::vector<TeamFact> facts = team.facts;
  const auto config = TRY(source.text_file("config.json"));
  uint64_t placement = team.placement.ranks;
  for (const auto& layer : team.placement.holders) {
    placement = placement * 31 + hash_bytes(std::as_bytes(std::span(layer)));
  }
  placement = placement * 31 + hash_bytes(std::as_bytes(std::span(team.placement.leaders)));
  facts.push_back({"model", hash_hex(hash_text(config.value_or("")))});
  facts.push_back({"set of weights", TRY(sample_weights(source))});
  std::string nodes = "by host";
  if (team.topology) nodes = fmt::format("{}", fmt::join(team.topology->node_of, ","));
  facts.push_back({"topology", nodes});
  facts.push_back({"order of experts", hash_hex(hash_text(encode_order(source.expert_order())))});
  facts.push_back({"number of experts a token", fmt::to_string(source.spec().moe.top_k)});
  facts.push_back({"layout", std::string(layout_name(team.layout))});
  facts.push_back({"placement", hash_hex(placement) + (team.adapt ? ", adaptive" : "")});
  facts.push_back({"way of choosing owners", owners_name(team.owners)});
  facts.push_back({"context", fmt::format("{} of {}", options.sequences, options.context)});
  return facts;
}

// Compares what ranks must have in common, and fills in what they find out together.
Result<RoundRates> meet_team(const ModelSource& source, uint64_t foresight_bytes,
                             EngineOptions& options) {
  TeamOptions& team = options.team;
  TRY_STATUS(agree(*team.world, TRY(team_facts(source, options))));
  if (!team.topology) team.topology = TRY(find_topology(*team.world));
  if (team.layout != Layout::kAuto) return RoundRates{};
  return settle_layout(source, foresight_bytes, options);
}

Status check_device(const Device* device) {
  if (device == nullptr || device->host_readable()) return {};
  return fail(Code::kConfig, "experts there are not computed yet: there are no kernels for it",
              std::string(device->name()), "use --device none or sim:CAPACITY,RATE,LATENCY");
}

}  // namespace

Engine::Impl::Impl(const ModelSource& source, const Kernels& kernels, const EngineOptions& options)
    : source(source),
      options(options),
      spec(source.spec()),
      kernels(kernels),
      team(options.team),
      placement(options.team.alone() ? place_by_order(source.expert_order(), 1)
                                     : options.team.placement),
      pool(options.threads),
      experts_max(experts_held_max(source, options.team)),
      device(options.device),
      replay(options.replay),
      sequences(options.sequences),
      sequences_here(switchyard::sequences_here(options)),
      owners(options.team.owners, options.team.ranks()),
      spans(options.spans) {}

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() { impl_->end_team(); }

Result<MemoryPlan> Engine::plan(const ModelSource& source, const EngineOptions& options) {
  const auto foresight = TRY(make_foresight(source.spec(), options));
  return plan_memory(TRY(memory_needs(source, options, bytes_of(foresight.get()))),
                     options.memory_bytes);
}

uint32_t Engine::kv_slots(const ModelSource& source, const EngineOptions& options,
                          uint64_t positions) {
  return kv_needs(source, options)
      .pieces_for(
          KvCache::bytes(kv_spec(source.spec(), options.team), positions, sequences_here(options)));
}

Result<uint64_t> Engine::minimum_bytes(const ModelSource& source, const EngineOptions& options) {
  const auto foresight = TRY(make_foresight(source.spec(), options));
  return minimum_memory_bytes(TRY(memory_needs(source, options, bytes_of(foresight.get()))));
}

// Which heads are computed here, and the exchanges with other ranks, for steps of plan.chunk rows.
void Engine::Impl::join_team() {
  const uint32_t kv_heads = spec.attention.kv_heads;
  attention.heads = {0, kv_heads};
  if (team.splits_heads()) attention.heads = heads_of(team.rank(), team.ranks(), kv_heads);
  attention.nodes = head_nodes(attention.heads, kv_heads);
  attention.outputs = {workspace.update};
  if (!team.alone()) {
    // The second is for the other half of rows that come in two passes.
    for (const uint32_t rows : {plan.chunk, second_pass_rows(plan.chunk)}) {
      exchanges.push_back(std::make_unique<ExpertExchange>(
          *team.world, ExchangeShape{spec.hidden, spec.moe.top_k, rows}, *team.topology));
    }
  }
  if (const auto shape = slice_shape(spec, team, plan.chunk)) {
    slice_exchange = std::make_unique<SliceExchange>(*team.world, *shape);
  }
  if (team.splits_heads()) {
    owner_exchange =
        std::make_unique<OwnerExchange>(*team.world, owner_shape(spec, team.ranks(), plan.chunk));
    const size_t node_floats = plan.chunk * padded(spec.hidden);
    head_sums.resize(attention.nodes.size() * node_floats);
    attention.outputs.clear();
    for (size_t i = 0; i < attention.nodes.size(); ++i) {
      attention.outputs.push_back(head_sums.data() + i * node_floats);
    }
    attention.share_sums = [this](std::span<float> sums) {
      return owner_exchange->share(layer_now, sums);
    };
  }
  std::vector<ExpertExchange*> of_passes;
  for (const auto& exchange : exchanges) of_passes.push_back(exchange.get());
  if (of_passes.empty()) of_passes.push_back(nullptr);
  moe = std::make_unique<MoeBlock>(spec, source.expert_order(), placement, team.rank(), of_passes,
                                   slice_exchange.get());
}

// Guesses are worth something where one rank's experts at least are not all in memory. Where heads
// are split a rank notes for the others what it sees of its rows, and all ask alike.
Status Engine::Impl::start_watch(std::unique_ptr<Foresight> foresight) {
  const bool fits = plan.slots >= experts_max;
  const bool all_fit = team.alone() ? fits : TRY(agree_on_least(*team.world, fits ? 1 : 0)) != 0;
  may_halve = all_fit && !team.alone() && placement.leaders.empty();
  if (all_fit) foresight = nullptr;
  uint32_t asked = RoutingWatch::queries_for(foresight.get(), options.on_routing != nullptr);
  const uint32_t asked_by_any = team.alone() ? asked : TRY(agree_on_union(*team.world, asked));
  if (team.splits_heads()) asked = asked_by_any;
  if (all_fit && asked == 0) return {};
  watch = std::make_unique<RoutingWatch>(
      spec, weights, *cache,
      RoutingWatch::Parts{.foresight = std::move(foresight),
                          .forecast = all_fit ? nullptr : options.forecast,
                          .sink = options.on_routing,
                          .replay = options.replay.get(),
                          .asked = asked});
  const bool guesses = asked_by_any != 0 && !team.splits_heads();
  const bool replicas = has_replicas(placement) || team.adapt;
  if (!all_fit && !team.alone() && (guesses || replicas)) {
    hints = std::make_unique<ExpertHints>(*team.world, placement, replicas, spec.router_layers(),
                                          *cache);
  }
  return {};
}

Result<std::unique_ptr<Engine>> Engine::create(const ModelSource& source,
                                               const EngineOptions& options,
                                               const LoadProgress& progress) {
  auto engine = load(source, options, progress);
  if (!engine && !options.team.alone()) options.team.world->leave(engine.error());
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::load(const ModelSource& source, const EngineOptions& asked,
                                             const LoadProgress& progress) {
  EngineOptions options = asked;
  CHECK(options.threads >= 1);
  CHECK(!options.replay || options.replay->shape().top_k == source.spec().moe.top_k);
  const Kernels* kernels = TRY(select_kernels(options.isa));
  TRY_STATUS(check_device(options.device.get()));
  auto foresight = TRY(make_foresight(source.spec(), options));
  RoundRates links;
  if (!options.team.alone()) {
    links = TRY(meet_team(source, bytes_of(foresight.get()), options));
  }
  MemoryPlan plan = TRY(plan_memory(TRY(memory_needs(source, options, bytes_of(foresight.get()))),
                                    options.memory_bytes));
  uint32_t logits_rows = plan.logits_rows;
  if (!options.team.alone()) {
    plan.chunk = TRY(agree_on_least(*options.team.world, plan.chunk));
    logits_rows = TRY(agree_on_least(*options.team.world, logits_rows));
  }
  auto impl = std::make_unique<Impl>(source, *kernels, options);
  impl->links = links;
  TRY_STATUS(impl->take_experts());
  impl->plan = plan;
  impl->logits_rows = logits_rows;
  if (options.spans != nullptr) {
    options.spans->name_track(kTrackAttention, "attention");
    options.spans->name_track(kTrackExperts, "experts");
    options.spans->name_track(kTrackWait, "waiting for reads");
  }
  const uint64_t filled = std::min(plan.slots + plan.kv_slots, impl->experts);
  const uint64_t fill_bytes = filled * impl->expert_source().expert_bytes();
  const auto report = [&](uint64_t done) {
    if (progress.report) progress.report(done, plan.dense_bytes + fill_bytes);
  };
  impl->weights = TRY(DenseWeights::load(source, report));
  impl->workspace = TRY(Workspace::create(impl->spec, plan.chunk, plan.logits_rows));
  TRY_STATUS(impl->open_cache([&](uint64_t done) { report(plan.dense_bytes + done); }));
  impl->load_bytes = plan.dense_bytes + fill_bytes;
  impl->kv = TRY(KvCache::create(
      kv_spec(impl->spec, options.team), options.context, sequences_here(options),
      options.sequences, kv_needs(source, options).piece_bytes,
      {.lend = [impl = impl.get()] { return impl->cache->lend(); },
       .take_back = [impl = impl.get()](auto slot) { impl->cache->take_back(slot); }}));
  // Or the first prompt would pay for it.
  impl->kv.populate(std::min(plan.chunk, options.context));
  impl->weights.touch();
  impl->workspace.touch();
  impl->join_team();
  // The drive is kept busy by the thread that computes, now and then: no thread of its own takes
  // turns with those that compute.
  if (plan.slots < impl->experts_max || options.device) {
    impl->pool.set_between([impl = impl.get()] { impl->pump_reads(); });
  }
  TRY_STATUS(impl->start_watch(std::move(foresight)));
  impl->watch_placement();
  return std::unique_ptr<Engine>(new Engine(std::move(impl)));
}

const ModelSpec& Engine::spec() const { return impl_->spec; }
const MemoryPlan& Engine::memory_plan() const { return impl_->plan; }
uint32_t Engine::device_slots() const { return impl_->cache->device_slots(); }
const char* Engine::isa() const { return impl_->kernels.name; }
const std::string& Engine::read_path() const { return impl_->cache->queue_name(); }
const std::string& Engine::warning() const { return impl_->cache->warning(); }
uint64_t Engine::load_bytes() const { return impl_->load_bytes; }
std::optional<double> Engine::oracle_hit_rate() const {
  if (!impl_->team.alone() || !impl_->watch) return std::nullopt;
  return impl_->watch->oracle_hit_rate(impl_->expert_slots() + device_slots());
}
const Foresight* Engine::foresight() const {
  return impl_->watch ? impl_->watch->foresight() : nullptr;
}

void Engine::set_stop(std::function<bool()> stop) { impl_->stop = std::move(stop); }

Status Engine::serve() {
  Status done = impl_->serve();
  if (!done) impl_->team.world->leave(done.error());
  return done;
}

Result<std::vector<RankReport>> Engine::rank_reports() {
  auto reports = impl_->rank_reports();
  if (!reports && !impl_->team.alone()) impl_->team.world->leave(reports.error());
  return reports;
}

const std::vector<PlacementChange>& Engine::placement_changes() const {
  static const std::vector<PlacementChange> kNone;
  return impl_->placement_watch ? impl_->placement_watch->changes() : kNone;
}

Layout Engine::layout() const { return impl_->team.layout; }
uint32_t Engine::ranks() const { return impl_->team.ranks(); }

Result<SequenceId> Engine::open_sequence(std::span<const TokenId> beginning) {
  if (const Status adapted = impl_->adapt_placement(); !adapted) {
    impl_->team.world->leave(adapted.error());
    return tl::unexpected(adapted.error());
  }
  const SequenceId sequence = TRY(impl_->free_sequence());
  TRY_STATUS(impl_->order({.kind = RankCommand::Kind::kOpen,
                           .sequence = sequence,
                           .home = impl_->home_for(sequence, beginning)}));
  return sequence;
}

// A team that cannot be told fails at what it is told next.
void Engine::close_sequence(SequenceId sequence) {
  const RankCommand command{.kind = RankCommand::Kind::kClose, .sequence = sequence};
  if (!impl_->order(command)) (void)impl_->obey(command);
}

uint32_t Engine::positions(SequenceId sequence) const {
  return impl_->sequences[static_cast<uint32_t>(sequence)].length;
}

Status Engine::step(const StepPlan& plan, const LogitsSink& sink, const BestSink& best) {
  TRY_STATUS(impl_->check(plan));
  RankCommand command{.kind = RankCommand::Kind::kStep,
                      .number = impl_->steps + 1,
                      .plan = plan,
                      .ways = impl_->choose_ways(plan),
                      .halves = impl_->choose_halves(plan)};
  if (impl_->team.alone()) return impl_->run_step(command, sink, best);
  if (impl_->stop && impl_->stop()) return fail(Code::kStopped, "stopped");
  Status done = tell(*impl_->team.world, command);
  const double began = now_seconds();
  if (done) done = impl_->run_step(command, sink, best);
  impl_->pass_choice.took(plan.tokens(), command.halves, now_seconds() - began);
  if (!done) impl_->team.world->leave(done.error());
  if (impl_->placement_watch) impl_->placement_watch->computed(plan.tokens());
  return done;
}

const EngineCounters& Engine::counters() const {
  const ExpertCacheCounters cache = impl_->cache_counters();
  impl_->counters.expert_slots = impl_->expert_slots();
  impl_->counters.expert_hits = cache.hits;
  impl_->counters.expert_misses = cache.misses;
  impl_->counters.expert_bytes_read = cache.bytes_read;
  impl_->counters.stall_seconds = cache.stall_seconds;
  impl_->counters.read_retries = cache.retries;
  impl_->counters.prefetch = cache.prefetch;
  impl_->counters.device = cache.device;
  impl_->counters.layers = cache.layers;
  return impl_->counters;
}

// As close_sequence().
void Engine::reset_counters() { (void)impl_->order({.kind = RankCommand::Kind::kReset}); }

}  // namespace switchyard
