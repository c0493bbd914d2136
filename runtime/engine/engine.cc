#include "runtime/engine/engine.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "experts/rank_source.h"
#include "experts/staged_source.h"
#include "runtime/base/align.h"
#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/hash.h"
#include "runtime/base/spans.h"
#include "runtime/device/device.h"
#include "runtime/engine/engine_impl.h"
#include "runtime/engine/round_rates.h"
#include "runtime/kernels/kernel_table.h"
#include "storage/faulty_queue.h"
#include "storage/input_file.h"
#include "storage/rated_queue.h"

namespace switchyard {
namespace {

constexpr uint32_t kChunkDefault = 512;

PredictorShape predictor_shape(const ModelSpec& spec) {
  return {spec.sparse_layers(), spec.moe.experts, spec.moe.top_k};
}

// What stands before the real drive: a rate it is held to, and faults. A folder has no checksums: a
// flipped bit would be computed on.
Result<std::function<std::unique_ptr<ReadQueue>(std::unique_ptr<ReadQueue>)>> drive_in_front(
    const ModelSource& source, const EngineOptions& options) {
  FaultMix mix;
  if (!options.faults.empty()) mix = TRY(parse_faults(options.faults));
  if (mix.bit_flip > 0 && !source.experts().direct()) {
    return fail(Code::kUsage, "bits flipped in a folder's weights cannot be noticed", "--faults",
                "pack the model, or name other kinds");
  }
  return [mix, options](std::unique_ptr<ReadQueue> queue) -> std::unique_ptr<ReadQueue> {
    if (options.drive_bytes_per_second > 0) {
      DriveModel model{.bytes_per_second = options.drive_bytes_per_second};
      model.now_seconds = now_seconds;
      model.sleep_until = sleep_until_seconds;
      const uint32_t depth = queue->depth();
      queue = std::make_unique<RatedQueue>(std::move(queue), depth, std::move(model));
    }
    if (!options.faults.empty()) queue = std::make_unique<FaultyQueue>(std::move(queue), mix);
    return queue;
  };
}

// Null when nothing is to be guessed.
Result<std::unique_ptr<Foresight>> make_foresight(const ModelSpec& spec,
                                                  const EngineOptions& options) {
  const PredictorShape shape = predictor_shape(spec);
  auto predictor = TRY(make_predictor(options.predictor, shape));
  if (predictor == nullptr) return nullptr;
  return std::make_unique<Foresight>(std::move(predictor), shape, spec.router_layers());
}

// What this rank holds of the experts; null: all of the source's.
std::unique_ptr<ExpertSource> rank_experts(const ModelSource& source, const TeamOptions& team) {
  if (team.alone()) return nullptr;
  return make_rank_source(source.experts(), team.placement, source.spec().router_layers(),
                          team.rank());
}

// The model as its keys and values see it: with the heads of this rank, of which a rank without any
// still counts one.
ModelSpec kv_spec(const ModelSpec& spec, const TeamOptions& team) {
  ModelSpec part = spec;
  if (!team.splits_heads()) return part;
  const HeadRange heads = heads_of(team.rank(), team.ranks(), spec.attention.kv_heads);
  part.attention.heads = std::max(heads.count, 1U) * spec.attention.group_heads();
  part.attention.kv_heads = std::max(heads.count, 1U);
  return part;
}

uint32_t sequences_here(const EngineOptions& options) {
  if (options.team.splits_heads()) return options.sequences;
  return static_cast<uint32_t>(ceil_div(options.sequences, options.team.ranks()));
}

// Keys and values take slots from experts as they grow, unless the experts' share is given.
KvCache::Needs kv_needs(const ModelSource& source, const EngineOptions& options) {
  const bool elastic = options.expert_bytes_max == UINT64_MAX;
  return KvCache::needs(kv_spec(source.spec(), options.team), options.context,
                        sequences_here(options), elastic ? source.experts().slot_bytes() : 0);
}

OwnerShape owner_shape(const ModelSpec& spec, uint32_t ranks, uint32_t rows) {
  OwnerShape shape{.hidden = spec.hidden, .rows_max = rows, .leaves = spec.attention.kv_heads};
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    std::vector<uint32_t>& firsts = shape.nodes_of_rank.emplace_back();
    for (const HeadRange node : head_nodes(heads_of(rank, ranks, shape.leaves), shape.leaves)) {
      firsts.push_back(node.first);
    }
  }
  return shape;
}

// Half of so many rows, each rank's rounded down.
uint32_t second_pass_rows(uint32_t rows) { return rows / 2; }

// What the exchanges of a team take for a row of a step.
uint64_t exchange_row_bytes(const ModelSpec& spec, const TeamOptions& team) {
  if (team.alone()) return 0;
  uint64_t bytes = ExpertExchange::bytes({spec.hidden, spec.moe.top_k, 1}, team.ranks());
  bytes += bytes / 2;  // the second pass
  if (team.splits_heads()) {
    const OwnerShape shape = owner_shape(spec, team.ranks(), 1);
    bytes += OwnerExchange::bytes(shape, team.rank());
    bytes += shape.nodes_of_rank[team.rank()].size() * padded(spec.hidden) * sizeof(float);
  }
  return bytes;
}

Result<MemoryNeeds> memory_needs(const ModelSource& source, const EngineOptions& options,
                                 const Foresight* foresight) {
  CHECK(options.context >= 1 && options.sequences >= 1);
  const ModelSpec& spec = source.spec();
  const auto part = rank_experts(source, options.team);
  const ExpertSource& experts = part ? *part : source.experts();
  const auto workspace = [&](uint32_t rows, uint32_t logits) {
    return Workspace::bytes(spec, rows, logits);
  };
  MemoryNeeds needs;
  needs.dense_bytes = TRY(DenseWeights::bytes(source));
  const KvCache::Needs kv = kv_needs(source, options);
  needs.kv_bytes = kv.own_bytes;
  needs.kv_slots = kv.pieces;
  needs.other_bytes = options.other_bytes + RouterProbe::bytes(spec, Foresight::kTokensMax) +
                      (foresight ? foresight->bytes() : 0) +
                      (options.forecast ? options.forecast->bytes() : 0);
  needs.activation_bytes = workspace(0, 0);
  needs.activation_row_bytes =
      workspace(1, 0) - workspace(0, 0) + exchange_row_bytes(spec, options.team);
  needs.logits_row_bytes = workspace(0, 1) - workspace(0, 0);
  if (options.team.splits_heads()) needs.logits_row_bytes *= 2;  // parts come from everywhere
  needs.slot_bytes = experts.slot_bytes();
  needs.staging_bytes = experts.direct() ? 0 : experts.staging_bytes();
  needs.experts = static_cast<uint32_t>(experts.keys().size());
  needs.slots_min = std::min(spec.moe.top_k, needs.experts);
  needs.chunk_min = options.sequences;
  needs.chunk_wanted =
      std::max(options.chunk == 0 ? kChunkDefault : options.chunk, needs.chunk_min);
  needs.chunk_wanted =
      std::max(needs.chunk_min, std::min(needs.chunk_wanted, options.context * options.sequences));
  needs.expert_bytes_max = options.expert_bytes_max;
  return needs;
}

Result<ExpertCacheOptions> cache_options(const ModelSource& source, const EngineOptions& options,
                                         const MemoryPlan& plan) {
  const ModelSpec& spec = source.spec();
  ExpertCacheOptions cache;
  cache.slots = plan.slots + plan.kv_slots;
  cache.staging = plan.staging;
  cache.policy = options.policy;
  cache.buffered = options.buffered_reads;
  cache.spans = options.spans;
  cache.device = options.device.get();
  cache.memory_bytes_per_second = options.memory_bytes_per_second;
  if (options.prefetch) {
    cache.prefetch_bytes_per_step =
        source.experts().expert_bytes() * spec.moe.top_k * spec.sparse_layers();
  }
  if (!options.faults.empty() || options.drive_bytes_per_second > 0) {
    cache.wrap_queue = TRY(drive_in_front(source, options));
  }
  return cache;
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
  facts.push_back({"model", hash_hex(hash_text(config.value_or("")))});
  facts.push_back({"set of weights", TRY(sample_weights(source))});
  std::string nodes = "by host";
  if (team.topology) nodes = fmt::format("{}", fmt::join(team.topology->node_of, ","));
  facts.push_back({"topology", nodes});
  facts.push_back({"order of experts", hash_hex(hash_text(encode_order(source.expert_order())))});
  facts.push_back({"number of experts a token", fmt::to_string(source.spec().moe.top_k)});
  facts.push_back({"layout", std::string(layout_name(team.layout))});
  facts.push_back({"placement", hash_hex(placement)});
  facts.push_back({"way of choosing owners", owners_name(team.owners)});
  facts.push_back({"context", fmt::format("{} of {}", options.sequences, options.context)});
  return facts;
}

Status check_device(const Device* device) {
  if (device == nullptr || device->host_readable()) return {};
  return fail(Code::kConfig, "experts there are not computed yet: there are no kernels for it",
              std::string(device->name()), "use --device none or sim:CAPACITY,RATE,LATENCY");
}

}  // namespace

Engine::Impl::Impl(const ModelSource& source, std::unique_ptr<ExpertSource> own,
                   std::unique_ptr<ExpertSource> staged_copy, const Kernels& kernels,
                   const EngineOptions& options)
    : spec(source.spec()),
      kernels(kernels),
      team(options.team),
      placement(options.team.alone() ? place_by_order(source.expert_order(), 1)
                                     : options.team.placement),
      pool(options.threads),
      own_experts(std::move(own)),
      staged(std::move(staged_copy)),
      expert_source(staged        ? *staged
                    : own_experts ? *own_experts
                                  : source.experts()),
      experts(static_cast<uint32_t>(expert_source.keys().size())),
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
  return plan_memory(TRY(memory_needs(source, options, foresight.get())), options.memory_bytes);
}

uint32_t Engine::kv_slots(const ModelSource& source, const EngineOptions& options,
                          uint64_t positions) {
  return kv_needs(source, options)
      .pieces_for(
          KvCache::bytes(kv_spec(source.spec(), options.team), positions, sequences_here(options)));
}

Result<uint64_t> Engine::minimum_bytes(const ModelSource& source, const EngineOptions& options) {
  const auto foresight = TRY(make_foresight(source.spec(), options));
  return minimum_memory_bytes(TRY(memory_needs(source, options, foresight.get())));
}

// Which heads are computed here, and the exchanges with other ranks, for steps of plan.chunk rows.
void Engine::Impl::join_team(const ModelSource& source) {
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
  moe = std::make_unique<MoeBlock>(spec, source.expert_order(), placement, team.rank(), of_passes);
}

Result<std::unique_ptr<Engine>> Engine::create(const ModelSource& source,
                                               const EngineOptions& options,
                                               const LoadProgress& progress) {
  auto engine = load(source, options, progress);
  if (!engine && !options.team.alone()) options.team.world->leave(engine.error());
  return engine;
}

Result<std::unique_ptr<Engine>> Engine::load(const ModelSource& source,
                                             const EngineOptions& options,
                                             const LoadProgress& progress) {
  CHECK(options.threads >= 1);
  CHECK(!options.replay || options.replay->shape().top_k == source.spec().moe.top_k);
  const Kernels* kernels = TRY(select_kernels(options.isa));
  TRY_STATUS(check_device(options.device.get()));
  auto foresight = TRY(make_foresight(source.spec(), options));
  MemoryPlan plan =
      TRY(plan_memory(TRY(memory_needs(source, options, foresight.get())), options.memory_bytes));
  uint32_t logits_rows = plan.logits_rows;
  if (!options.team.alone()) {
    TRY_STATUS(agree(*options.team.world, TRY(team_facts(source, options))));
    plan.chunk = TRY(agree_on_least(*options.team.world, plan.chunk));
    logits_rows = TRY(agree_on_least(*options.team.world, logits_rows));
  }

  EngineOptions known = options;
  if (!options.team.alone() && !options.team.topology) {
    known.team.topology = TRY(find_topology(*options.team.world));
  }
  auto own = rank_experts(source, options.team);
  std::unique_ptr<ExpertSource> staged;
  if (!options.stage.empty()) {
    staged = TRY(stage_experts(own ? *own : source.experts(), options.stage, {}));
  }
  auto impl = std::make_unique<Impl>(source, std::move(own), std::move(staged), *kernels, known);
  impl->plan = plan;
  impl->logits_rows = logits_rows;
  if (options.spans != nullptr) {
    options.spans->name_track(kTrackAttention, "attention");
    options.spans->name_track(kTrackExperts, "experts");
    options.spans->name_track(kTrackWait, "waiting for reads");
  }
  const ExpertSource& experts = impl->expert_source;
  const uint64_t filled = std::min<uint64_t>(plan.slots + plan.kv_slots, experts.keys().size());
  const uint64_t fill_bytes = filled * experts.expert_bytes();
  const auto report = [&](uint64_t done) {
    if (progress.report) progress.report(done, plan.dense_bytes + fill_bytes);
  };
  impl->weights = TRY(DenseWeights::load(source, report));
  impl->workspace = TRY(Workspace::create(impl->spec, plan.chunk, plan.logits_rows));
  const ExpertCacheOptions of_cache = TRY(cache_options(source, options, plan));
  impl->cache = TRY(ExpertCache::create(experts, of_cache));
  TRY_STATUS(impl->cache->fill([&](uint64_t done, uint64_t) { report(plan.dense_bytes + done); }));
  impl->load_bytes = plan.dense_bytes + fill_bytes;
  impl->kv = TRY(KvCache::create(
      kv_spec(impl->spec, options.team), options.context, sequences_here(options),
      options.sequences, kv_needs(source, options).piece_bytes,
      {.lend = [cache = impl->cache.get()] { return cache->lend(); },
       .take_back = [cache = impl->cache.get()](auto slot) { cache->take_back(slot); }}));
  impl->join_team(source);
  if (!options.team.alone()) {
    const bool fits = plan.slots >= experts.keys().size();
    impl->may_halve = TRY(agree_on_least(*options.team.world, fits ? 1 : 0)) != 0;
  }
  if (!options.team.alone() && options.team.layout == Layout::kAuto) {
    impl->links = TRY(measure_links(*options.team.world));
  }
  // The drive is kept busy by the thread that computes, now and then: no thread of its own takes
  // turns with those that compute.
  const bool all_fit = plan.slots >= experts.keys().size();
  if (!all_fit || options.device) {
    impl->pool.set_between([impl = impl.get()] { impl->pump_reads(); });
  }
  if (all_fit) foresight = nullptr;
  // Where heads are split no rank sees all of a step's routes.
  if ((!all_fit || options.on_routing) && !options.team.splits_heads()) {
    impl->watch = std::make_unique<RoutingWatch>(
        impl->spec, impl->weights, *impl->cache, std::move(foresight),
        all_fit ? nullptr : options.forecast, options.on_routing, options.replay.get());
  }
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
  return impl_->watch ? impl_->watch->oracle_hit_rate(impl_->expert_slots() + device_slots())
                      : std::nullopt;
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

uint32_t Engine::ranks() const { return impl_->team.ranks(); }

Result<SequenceId> Engine::open_sequence(std::span<const TokenId> beginning) {
  const SequenceId sequence = TRY(impl_->free_sequence());
  TRY_STATUS(impl_->order({.kind = RankCommand::Kind::kOpen,
                           .sequence = sequence,
                           .home = impl_->home_for(sequence, beginning)}));
  return sequence;
}

// A team that cannot be told fails at its next step.
void Engine::close_sequence(SequenceId sequence) {
  (void)impl_->order({.kind = RankCommand::Kind::kClose, .sequence = sequence});
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
  return done;
}

const EngineCounters& Engine::counters() const {
  const ExpertCacheCounters cache = impl_->cache->counters();
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
