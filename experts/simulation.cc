#include "experts/simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <memory>
#include <numeric>
#include <optional>
#include <utility>

#include "experts/foresight.h"
#include "experts/key_index.h"
#include "experts/predictors/registry.h"
#include "runtime/base/align.h"
#include "runtime/device/simulated_device.h"
#include "storage/rated_queue.h"

namespace switchyard {
namespace {

// Sizes and rates are divided by this, so that chunks of 1 MiB (of large experts: a sixty-fourth)
// become pages and gigabytes of slots a few megabytes: nothing is ever written to them.
uint64_t scale_of(uint64_t expert_bytes) {
  constexpr uint64_t kScaleMin = (uint64_t{1} << 20) / kPageBytes, kChunksMax = 64;
  return std::max(kScaleMin, ceil_div(expert_bytes, kChunksMax * kPageBytes));
}

constexpr double kPumpsMax = 1000;
constexpr double kPumpSeconds =
    200e-6;  // as often as the engine looks after reads while it computes

std::vector<ExpertKey> keys_of(const TraceShape& shape) {
  std::vector<ExpertKey> keys;
  for (const uint16_t layer : shape.layers) {
    for (uint32_t expert = 0; expert < shape.experts; ++expert) {
      keys.push_back({layer, static_cast<uint16_t>(expert)});
    }
  }
  return keys;
}

// Experts that have sizes and places, and no bytes.
class NoSource final : public ExpertSource {
 public:
  NoSource(const TraceShape& shape, uint64_t expert_bytes)
      : keys_(keys_of(shape)),
        bytes_(std::max<uint64_t>(expert_bytes / scale_of(expert_bytes), 1)) {}

  const ExpertLayout& layout() const override { return layout_; }
  uint64_t expert_bytes() const override { return bytes_; }
  uint64_t slot_bytes() const override { return round_up(bytes_, kPageBytes); }
  const std::vector<ExpertKey>& keys() const override { return keys_; }
  bool direct() const override { return true; }
  std::vector<ExpertPiece> pieces(ExpertKey) const override { return {{nullptr, 0, bytes_}}; }
  uint64_t staging_bytes() const override { return 0; }
  Status finish(ExpertKey, std::span<const StagedPiece>, std::span<std::byte>) const override {
    return {};
  }

 private:
  std::vector<ExpertKey> keys_;
  uint64_t bytes_;
  ExpertLayout layout_;
};

class Simulation {
 public:
  Simulation(const RoutingTrace& trace, const SimulationOptions& options)
      : trace_(trace),
        options_(options),
        scale_(scale_of(options.expert_bytes)),
        source_(trace.shape, options.expert_bytes) {}

  Result<SimulationResult> run() {
    TRY_STATUS(prepare());
    for (const RoutingStep& step : trace_.steps) {
      for (size_t token = 0; token < step.tokens.size(); ++token) {
        TRY_STATUS(replay(step, token));
      }
    }
    return result_;
  }

 private:
  Status prepare() {
    const TraceShape& shape = trace_.shape;
    const auto layers = static_cast<uint32_t>(shape.layers.size());
    const PredictorShape predictor_shape{layers, shape.experts, shape.top_k};
    auto predictor = TRY(make_predictor(options_.predictor, predictor_shape));
    if (predictor != nullptr) {
      foresight_ = std::make_unique<Foresight>(std::move(predictor), predictor_shape, shape.layers);
      TRY_STATUS(check_answers());
    }
    ExpertCacheOptions cache;
    cache.slots = options_.slots;
    cache.read_chunk_bytes = kPageBytes;
    cache.policy = options_.policy;
    cache.future = options_.future;
    cache.prefetch_bytes_per_step =
        options_.prefetch ? source_.expert_bytes() * shape.top_k * layers : 0;
    cache.drive_bytes_per_second = options_.bytes_per_second / static_cast<double>(scale_);
    cache.now_seconds = [this] { return now_; };
    cache.make_queue = [&](std::span<std::byte>) {
      DriveModel drive{.bytes_per_second = options_.bytes_per_second / static_cast<double>(scale_),
                       .latency_seconds = options_.latency_seconds};
      drive.now_seconds = [this] { return now_; };
      drive.sleep_until = [this](double until) { now_ = std::max(now_, until); };
      return std::make_unique<RatedQueue>(nullptr, cache.queue_depth, std::move(drive));
    };
    cache.on_checksum = [this](uint64_t bytes) {
      now_ += options_.verify_seconds * static_cast<double>(bytes) /
              static_cast<double>(source_.expert_bytes());
    };
    add_device(cache);
    cache_ = TRY(ExpertCache::create(source_, cache));
    return options_.prompted ? prompt() : Status{};
  }

  Status prompt() {
    TRY_STATUS(cache_->fill({}));
    std::vector<uint16_t> all(trace_.shape.experts);
    std::iota(all.begin(), all.end(), uint16_t{0});
    for (const uint16_t layer : trace_.shape.layers) {
      cache_->request(layer, all, CachePath::kSweep);
      while (!TRY(cache_->next()).empty()) continue;
    }
    return {};
  }

  void add_device(ExpertCacheOptions& cache) {
    const SimulatedTier& tier = options_.device;
    if (tier.slots == 0) return;
    const auto scale = static_cast<double>(scale_);
    device_.emplace(
        tier.slots * source_.slot_bytes(),
        SimulatedLink{.bytes_per_second = tier.link_bytes_per_second / scale,
                      .latency_seconds = tier.link_latency_seconds,
                      .now_seconds = [this] { return now_; },
                      .sleep_until = [this](double until) { now_ = std::max(now_, until); }});
    cache.device = &*device_;
    cache.memory_bytes_per_second = tier.memory_bytes_per_second / scale;
  }

  // The queries other than the control must have been recorded.
  Status check_answers() const {
    for (const RouterQuery query : foresight_->queries()) {
      if (query == RouterQuery::kSameLayer) continue;
      const bool recorded = std::ranges::any_of(trace_.steps, [&](const RoutingStep& step) {
        return std::ranges::find(step.predictions, query_name(query), &TracePrediction::kind) !=
               step.predictions.end();
      });
      if (!recorded) {
        return fail(
            Code::kUsage,
            fmt::format("the trace holds no answers of routers asked {}", query_name(query)), {},
            "record it with run --record-routing, or choose another --predictor");
      }
    }
    return {};
  }

  void answer(const RoutingStep& step, size_t token, size_t layer, RouterQuery query) {
    const size_t target = layer + query_distance(query);
    if (!foresight_ || target >= trace_.shape.layers.size()) return;
    const auto found =
        std::ranges::find(step.predictions, query_name(query), &TracePrediction::kind);
    if (found == step.predictions.end()) return;
    const auto answers =
        std::span(found->answers)
            .subspan((target * step.tokens.size() + token) * found->width, found->width);
    if (answers.empty() || answers.front().gate_weight < 0) return;
    cache_->prefetch(
        foresight_->answer(query, static_cast<uint32_t>(target), answers, found->width));
  }

  Status replay(const RoutingStep& step, size_t token) {
    const ExpertCacheCounters before = cache_->counters();
    const double began = now_;
    if (options_.forecast != nullptr) {
      TokenId& before = before_.try_emplace(step.request, -1).first->second;
      const TokenContext context{before, step.tokens[token]};
      before = context.token;
      options_.forecast->foretell({&context, 1}, foreseen_);
      cache_->foresee(foreseen_);
      if (foresight_) foresight_->foresee(foreseen_);
    }
    if (foresight_) {
      const std::array<uint32_t, 1> request = {step.request};
      cache_->prefetch(foresight_->begin_step({&step.tokens[token], 1}, request));
    }
    for (size_t layer = 0; layer < trace_.shape.layers.size(); ++layer) {
      TRY_STATUS(replay_layer(step, token, layer));
    }
    if (step.phase == TracePhase::kDecode) count(before, began);
    return {};
  }

  // Time passes; the drive is kept busy meanwhile, which takes time of its own.
  void compute(double seconds) {
    const double looks = std::floor(std::clamp(seconds / kPumpSeconds, 1.0, kPumpsMax));
    for (double look = 0; look < looks; ++look) {
      now_ += seconds / looks;
      cache_->pump();
    }
  }

  Status replay_layer(const RoutingStep& step, size_t token, size_t layer) {
    answer(step, token, layer, RouterQuery::kPreAttention);
    compute(options_.layer_seconds);
    const auto routed = step.at(trace_.shape, layer, token);
    std::vector<uint16_t> experts;
    for (const RoutedExpert& routed_expert : routed) experts.push_back(routed_expert.expert);
    cache_->request(trace_.shape.layers[layer], experts);
    for (const RouterQuery query :
         {RouterQuery::kSameLayer, RouterQuery::kNextLayer, RouterQuery::kNextTwo,
          RouterQuery::kNextLayerShared, RouterQuery::kNextTwoShared}) {
      answer(step, token, layer, query);
    }
    if (foresight_ && !routed.empty()) {
      foresight_->observe(static_cast<uint32_t>(layer), routed);
      cache_->prefetch(foresight_->look_ahead(static_cast<uint32_t>(layer)));
    }
    while (true) {
      const auto leases = TRY(cache_->next());
      if (leases.empty()) return {};
      compute(static_cast<double>(leases.size()) * options_.expert_seconds);
    }
  }

  void count(const ExpertCacheCounters& before, double began) {
    const ExpertCacheCounters after = cache_->counters();
    const PrefetchCounters &early = before.prefetch, &late = after.prefetch;
    result_.tokens += 1;
    result_.prefetched += late.hits - early.hits;
    result_.hits += after.hits - before.hits - (late.hits - early.hits);
    result_.late += late.late - early.late;
    result_.device_hits += after.device.hits - before.device.hits;
    result_.copies += after.device.copies - before.device.copies;
    result_.misses += after.misses - before.misses;
    result_.misses_of_tokens.push_back(static_cast<uint32_t>(after.misses - before.misses));
    result_.bytes_read += (after.bytes_read - before.bytes_read) * scale_;
    result_.useful_bytes += (late.useful_bytes - early.useful_bytes) * scale_;
    result_.wasted_bytes += (late.wasted_bytes - early.wasted_bytes) * scale_;
    result_.steps += late.steps - early.steps;
    result_.steps_rested += late.steps_rested - early.steps_rested;
    result_.seconds += now_ - began;
    result_.stall_seconds += after.stall_seconds - before.stall_seconds;
  }

  const RoutingTrace& trace_;
  const SimulationOptions& options_;
  const uint64_t scale_;
  const NoSource source_;
  double now_ = 0;
  std::map<uint32_t, TokenId> before_;  // the last token of each request
  std::vector<ForeseenUse> foreseen_;
  std::unique_ptr<Foresight> foresight_;
  std::optional<SimulatedDevice> device_;
  std::unique_ptr<ExpertCache> cache_;
  SimulationResult result_;
};

}  // namespace

double SimulationResult::hit_rate() const {
  return uses() > 0 ? static_cast<double>(hits) / static_cast<double>(uses()) : 0;
}

FutureUses future_uses(const RoutingTrace& trace) {
  const KeyIndex index(keys_of(trace.shape));
  FutureUses future;
  future.uses.resize(index.size());
  uint32_t now = 0;
  for (const RoutingStep& step : trace.steps) {
    for (size_t token = 0; token < step.tokens.size(); ++token) {
      for (size_t layer = 0; layer < trace.shape.layers.size(); ++layer, ++now) {
        for (const RoutedExpert& expert : step.at(trace.shape, layer, token)) {
          future.uses[index.at({trace.shape.layers[layer], expert.expert})].push_back(now);
        }
      }
    }
  }
  return future;
}

Result<SimulationResult> simulate(const RoutingTrace& trace, const SimulationOptions& options) {
  return Simulation(trace, options).run();
}

}  // namespace switchyard
