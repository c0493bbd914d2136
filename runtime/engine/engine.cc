#include "runtime/engine/engine.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "experts/expert_cache.h"
#include "experts/expert_source.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/spans.h"
#include "runtime/device/device.h"
#include "runtime/device/worker_pool.h"
#include "runtime/engine/attention_block.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/kv_cache.h"
#include "runtime/engine/moe_block.h"
#include "runtime/engine/products.h"
#include "runtime/engine/workspace.h"
#include "runtime/kernels/kernel_table.h"
#include "storage/faulty_queue.h"
#include "storage/rated_queue.h"

namespace switchyard {
namespace {

constexpr uint32_t kChunkDefault = 512;
constexpr double kPumpSeconds = 100e-6;  // between two looks at the reads while computing

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

// Keys and values take slots from experts as they grow, unless the experts' share is given.
KvCache::Needs kv_needs(const ModelSource& source, const EngineOptions& options) {
  const bool elastic = options.expert_bytes_max == UINT64_MAX;
  return KvCache::needs(source.spec(), options.context, options.sequences,
                        elastic ? source.experts().slot_bytes() : 0);
}

Result<MemoryNeeds> memory_needs(const ModelSource& source, const EngineOptions& options,
                                 const Foresight* foresight) {
  CHECK(options.context >= 1 && options.sequences >= 1);
  const ModelSpec& spec = source.spec();
  const ExpertSource& experts = source.experts();
  const auto workspace = [&](uint32_t rows, uint32_t logits) {
    return Workspace::bytes(spec, rows, logits);
  };
  MemoryNeeds needs;
  needs.dense_bytes = TRY(DenseWeights::bytes(source));
  const KvCache::Needs kv = kv_needs(source, options);
  needs.kv_bytes = kv.own_bytes;
  needs.kv_slots = kv.pieces;
  needs.other_bytes = options.other_bytes + RouterProbe::bytes(spec, Foresight::kTokensMax) +
                      (foresight ? foresight->bytes() : 0);
  needs.activation_bytes = workspace(0, 0);
  needs.activation_row_bytes = workspace(1, 0) - workspace(0, 0);
  needs.logits_row_bytes = workspace(0, 1) - workspace(0, 0);
  needs.slot_bytes = experts.slot_bytes();
  needs.staging_bytes = experts.direct() ? 0 : experts.staging_bytes();
  needs.experts = static_cast<uint32_t>(experts.keys().size());
  needs.slots_min = spec.moe.top_k;
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

Status check_device(const Device* device) {
  if (device == nullptr || device->host_readable()) return {};
  return fail(Code::kConfig, "experts there are not computed yet: there are no kernels for it",
              std::string(device->name()), "use --device none or sim:CAPACITY,RATE,LATENCY");
}

}  // namespace

class Engine::Impl {
 public:
  Impl(const ModelSource& source, const Kernels& kernels, uint32_t threads)
      : spec(source.spec()),
        kernels(kernels),
        pool(threads),
        moe(spec, source.expert_order()),
        experts(static_cast<uint32_t>(source.experts().keys().size())) {}

  Status check(const StepPlan& plan) const;
  void pump_reads();
  void record(uint32_t track, const char* what, uint32_t layer, double begin) const;
  Status lay_rows(const StepPlan& plan);
  Status run_layers();
  Status run_layer(uint32_t layer);
  void norm_rows(const std::vector<float>& weight);
  void add_update();
  Status give_logits(const LogitsSink& sink);
  Compute compute() { return {kernels, pool}; }
  uint32_t expert_slots() const { return std::min(cache->slots(), experts); }
  uint32_t count() const { return static_cast<uint32_t>(rows.size()); }

  const ModelSpec& spec;
  const Kernels& kernels;
  WorkerPool pool;
  MoeBlock moe;
  const uint32_t experts;  // of all layers
  MemoryPlan plan;
  DenseWeights weights;
  Workspace workspace;
  std::shared_ptr<Device> device;  // null: none
  std::unique_ptr<ExpertCache> cache;
  KvCache kv;                             // in slots of the cache, in part
  std::shared_ptr<RoutingReplay> replay;  // null: the routers route
  std::unique_ptr<RoutingWatch> watch;    // null: nobody asks
  std::vector<StepRow> rows;
  EngineCounters counters;
  uint64_t load_bytes = 0;
  double pumped_seconds = 0;
  Spans* spans = nullptr;
  std::function<bool()> stop;
};

Engine::Engine(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Engine::~Engine() = default;

Result<MemoryPlan> Engine::plan(const ModelSource& source, const EngineOptions& options) {
  const auto foresight = TRY(make_foresight(source.spec(), options));
  return plan_memory(TRY(memory_needs(source, options, foresight.get())), options.memory_bytes);
}

uint32_t Engine::kv_slots(const ModelSource& source, const EngineOptions& options,
                          uint64_t positions) {
  return kv_needs(source, options)
      .pieces_for(KvCache::bytes(source.spec(), positions, options.sequences));
}

Result<uint64_t> Engine::minimum_bytes(const ModelSource& source, const EngineOptions& options) {
  const auto foresight = TRY(make_foresight(source.spec(), options));
  return minimum_memory_bytes(TRY(memory_needs(source, options, foresight.get())));
}

Result<std::unique_ptr<Engine>> Engine::create(const ModelSource& source,
                                               const EngineOptions& options,
                                               const LoadProgress& progress) {
  CHECK(options.threads >= 1);
  CHECK(!options.replay || options.replay->shape().top_k == source.spec().moe.top_k);
  const Kernels* kernels = TRY(select_kernels(options.isa));
  TRY_STATUS(check_device(options.device.get()));
  auto foresight = TRY(make_foresight(source.spec(), options));
  const MemoryPlan plan =
      TRY(plan_memory(TRY(memory_needs(source, options, foresight.get())), options.memory_bytes));

  auto impl = std::make_unique<Impl>(source, *kernels, options.threads);
  impl->plan = plan;
  impl->spans = options.spans;
  if (options.spans != nullptr) {
    options.spans->name_track(kTrackAttention, "attention");
    options.spans->name_track(kTrackExperts, "experts");
    options.spans->name_track(kTrackWait, "waiting for reads");
  }
  const uint64_t filled =
      std::min<uint64_t>(plan.slots + plan.kv_slots, source.experts().keys().size());
  const uint64_t fill_bytes = filled * source.experts().expert_bytes();
  const auto report = [&](uint64_t done) {
    if (progress.report) progress.report(done, plan.dense_bytes + fill_bytes);
  };
  impl->weights = TRY(DenseWeights::load(source, report));
  impl->workspace = TRY(Workspace::create(impl->spec, plan.chunk, plan.logits_rows));
  const ExpertCacheOptions of_cache = TRY(cache_options(source, options, plan));
  impl->device = options.device;
  impl->replay = options.replay;
  impl->cache = TRY(ExpertCache::create(source.experts(), of_cache));
  TRY_STATUS(impl->cache->fill([&](uint64_t done, uint64_t) { report(plan.dense_bytes + done); }));
  impl->load_bytes = plan.dense_bytes + fill_bytes;
  impl->kv = TRY(KvCache::create(
      impl->spec, options.context, options.sequences, kv_needs(source, options).piece_bytes,
      {.lend = [cache = impl->cache.get()] { return cache->lend(); },
       .take_back = [cache = impl->cache.get()](auto slot) { cache->take_back(slot); }}));
  // The drive is kept busy by the thread that computes, now and then: no thread of its own takes
  // turns with those that compute.
  const bool all_fit = plan.slots >= source.experts().keys().size();
  if (!all_fit || options.device) {
    impl->pool.set_between([impl = impl.get()] { impl->pump_reads(); });
  }
  if (all_fit) foresight = nullptr;
  if (!all_fit || options.on_routing) {
    impl->watch = std::make_unique<RoutingWatch>(impl->spec, impl->weights, *impl->cache,
                                                 std::move(foresight), options.on_routing,
                                                 options.replay.get());
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

Result<SequenceId> Engine::open_sequence() { return impl_->kv.open(); }
void Engine::close_sequence(SequenceId sequence) { impl_->kv.close(sequence); }
uint32_t Engine::positions(SequenceId sequence) const { return impl_->kv.length(sequence); }

const EngineCounters& Engine::counters() const {
  const ExpertCacheCounters cache = impl_->cache->counters();
  impl_->counters.expert_slots = impl_->expert_slots();
  impl_->counters.expert_hits = cache.hits;
  impl_->counters.expert_misses = cache.misses;
  impl_->counters.expert_bytes_read = cache.bytes_read;
  impl_->counters.read_wait_seconds = cache.wait_seconds;
  impl_->counters.read_retries = cache.retries;
  impl_->counters.prefetch = cache.prefetch;
  impl_->counters.device = cache.device;
  impl_->counters.layers = cache.layers;
  return impl_->counters;
}

void Engine::reset_counters() {
  impl_->cache->reset_counters();
  impl_->counters = {};
}

Status Engine::Impl::check(const StepPlan& step) const {
  CHECK_THAT(step.tokens() >= 1 && step.tokens() <= plan.chunk, "{} tokens in a step of {}",
             step.tokens(), plan.chunk);
  for (const StepPart& part : step.parts) {
    const uint32_t length = kv.length(part.sequence);
    if (length + part.tokens.size() > kv.context()) {
      return fail(Code::kUsage,
                  fmt::format("{} tokens do not fit the context of {}", length + part.tokens.size(),
                              kv.context()),
                  {}, "raise --context or shorten the text");
    }
    for (const TokenId token : part.tokens) {
      if (token >= 0 && static_cast<uint32_t>(token) < spec.vocab) continue;
      return fail(Code::kUsage,
                  fmt::format("token id {} is not in the vocabulary of {}", token, spec.vocab));
    }
  }
  return {};
}

void Engine::Impl::pump_reads() {
  const double now = now_seconds();
  if (now < pumped_seconds + kPumpSeconds) return;
  pumped_seconds = now;
  cache->pump();
}

Status Engine::Impl::lay_rows(const StepPlan& step) {
  rows.clear();
  for (const StepPart& part : step.parts) {
    const auto tokens = static_cast<uint32_t>(part.tokens.size());
    TRY_STATUS(kv.reserve(part.sequence, tokens));
    for (uint32_t i = 0; i < tokens; ++i) {
      const bool wanted = part.logits == LogitsWanted::kAll ||
                          (part.logits == LogitsWanted::kLast && i + 1 == tokens);
      rows.push_back(
          {part.sequence, kv.length(part.sequence) + i, part.tokens[i], wanted, part.prompt});
    }
  }
  const size_t stride = padded(spec.hidden);
  for (uint32_t row = 0; row < count(); ++row) {
    read_row(weights.embedding, static_cast<uint32_t>(rows[row].token), workspace.x + row * stride);
  }
  return {};
}

void Engine::Impl::norm_rows(const std::vector<float>& weight) {
  const size_t stride = padded(spec.hidden);
  pool.split(count(), spec.hidden, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      kernels.rms_norm(workspace.x + row * stride, weight.data(), spec.hidden, spec.hidden,
                       spec.norm_eps, workspace.normed + row * stride);
    }
  });
}

void Engine::Impl::add_update() {
  const size_t stride = padded(spec.hidden);
  pool.split(count(), spec.hidden, [&](uint32_t first, uint32_t last) {
    for (uint32_t row = first; row < last; ++row) {
      float* x = workspace.x + row * stride;
      kernels.add(x, workspace.update + row * stride, spec.hidden, x);
    }
  });
}

void Engine::Impl::record(uint32_t track, const char* what, uint32_t layer, double begin) const {
  if (spans == nullptr) return;
  spans->add(track, fmt::format("{} {}", what, layer), begin, now_seconds());
}

Status Engine::Impl::run_layer(uint32_t layer) {
  const LayerWeights& of_layer = weights.layers[layer];
  const double began = now_seconds();
  if (watch) watch->before_attention(compute(), layer, workspace);
  norm_rows(of_layer.input_norm);
  counters.weight_bytes_used +=
      attention_block(compute(), spec, layer, of_layer, rows, kv, workspace);
  add_update();
  cache->pump();
  record(kTrackAttention, "attention", layer, began);
  const double mlp_began = now_seconds();
  norm_rows(of_layer.post_norm);
  if (spec.layers[layer].sparse) {
    MoeBlock::Calls calls;
    if (replay) calls.reroute = [&](std::span<RoutedExpert> to) { replay->route(layer, to); };
    calls.while_reading = [&] {
      if (watch) watch->routed(compute(), layer, workspace);
    };
    TRY_STATUS(moe.run(compute(), layer, of_layer, count(), *cache, workspace,
                       counters.weight_bytes_used, calls));
  } else {
    pack_rows(pool, kernels, workspace.normed, padded(spec.hidden), count(), spec.hidden,
              workspace.packed);
    counters.weight_bytes_used +=
        dense_mlp(compute(), spec, of_layer, count(), workspace, workspace.update);
  }
  add_update();
  record(kTrackExperts, spec.layers[layer].sparse ? "experts" : "mlp", layer, mlp_began);
  return {};
}

Status Engine::Impl::run_layers() {
  rope_angles(compute(), spec, rows, workspace);
  if (replay) replay->begin_step(rows);
  if (watch) watch->begin_step(rows);
  for (uint32_t layer = 0; layer < spec.layers.size(); ++layer) {
    if (stop && stop()) return fail(Code::kStopped, "stopped");
    TRY_STATUS(run_layer(layer));
  }
  return {};
}

// Logits of the wanted rows, a few at a time: the vocabulary may be large.
Status Engine::Impl::give_logits(const LogitsSink& sink) {
  std::vector<uint32_t> wanted;
  for (uint32_t row = 0; row < count(); ++row) {
    if (rows[row].wants_logits) wanted.push_back(row);
  }
  const size_t hidden = padded(spec.hidden), vocab = padded(spec.vocab);
  for (uint32_t row : wanted) {
    float* normed = workspace.normed + row * hidden;
    kernels.rms_norm(workspace.x + row * hidden, weights.final_norm.data(), spec.hidden,
                     spec.hidden, spec.norm_eps, normed);
  }
  for (size_t begin = 0; begin < wanted.size(); begin += plan.logits_rows) {
    const auto some =
        static_cast<uint32_t>(std::min<size_t>(plan.logits_rows, wanted.size() - begin));
    kernels.pack(workspace.normed, hidden, wanted.data() + begin, some, spec.hidden,
                 workspace.packed);
    const Product product = {.w = &weights.output,
                             .packed = workspace.packed,
                             .tokens = some,
                             .y = workspace.logits,
                             .y_stride = vocab};
    run_products(pool, kernels, {&product, 1});
    counters.weight_bytes_used += product_weight_bytes(product);
    for (uint32_t i = 0; i < some; ++i) {
      const StepRow& row = rows[wanted[begin + i]];
      const std::span<const float> logits(workspace.logits + i * vocab, spec.vocab);
      if (!all_finite(DType::kF32, std::as_bytes(logits))) {
        return fail(Code::kBadData,
                    fmt::format("the logits at position {} are not finite", row.position), {},
                    "the weights are damaged: they overflow fp32");
      }
      sink(row.sequence, row.position, logits);
    }
  }
  return {};
}

Status Engine::step(const StepPlan& plan, const LogitsSink& sink) {
  TRY_STATUS(impl_->check(plan));
  TRY_STATUS(impl_->lay_rows(plan));
  TRY_STATUS(impl_->run_layers());
  TRY_STATUS(impl_->give_logits(sink));
  for (const StepPart& part : plan.parts) {
    impl_->kv.advance(part.sequence, static_cast<uint32_t>(part.tokens.size()));
  }
  if (impl_->watch) impl_->watch->end_step();
  return {};
}

}  // namespace switchyard
