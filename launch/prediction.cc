#include "launch/prediction.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "experts/expert_cache.h"
#include "experts/expert_source.h"
#include "experts/simulation.h"
#include "launch/cgroup.h"
#include "launch/model_parts.h"
#include "runtime/base/align.h"
#include "runtime/base/prng.h"
#include "runtime/base/units.h"
#include "runtime/device/device.h"
#include "runtime/engine/kv_cache.h"
#include "runtime/engine/workspace.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

constexpr uint64_t kHugePageBytes = uint64_t{2} << 20;
constexpr uint64_t kSlabOnHugePages = 4 * kHugePageBytes;  // as Slab has it
// Pages of the program that plan does not touch and run does, its threads' stacks, its queues.
constexpr uint64_t kRunBytes = uint64_t{3} << 20;
// What one thread does alone in a layer: routes, buckets, leases. Matters to tiny models only.
constexpr double kLayerSeconds = 20e-6;
// Made-up routing is so many picks long, the first third of which warms the cache.
constexpr uint32_t kTracePicks = 24'000;
constexpr uint32_t kTraceTokensMax = 1024;
constexpr double kReadAhead = 0.8;  // what predictors that ask routers mostly reach
constexpr uint64_t kGib = uint64_t{1} << 30;

uint64_t slab_resident(uint64_t bytes) {
  return round_up(bytes, bytes >= kSlabOnHugePages ? kHugePageBytes : kPageBytes);
}

// Keys and values are touched as they grow, their own memory before slots; a first chunk at once.
uint64_t kv_resident(const ModelSource& source, const EngineOptions& options, uint64_t positions,
                     const MemoryPlan& memory) {
  const uint64_t own = memory.kv_bytes - memory.kv_slots * source.experts().slot_bytes();
  const uint64_t used =
      std::max(KvCache::bytes(source.spec(), positions, options.sequences),
               KvCache::bytes(source.spec(), std::min(memory.chunk, options.context), 1));
  const uint64_t unit = own >= kSlabOnHugePages ? kHugePageBytes : kPageBytes;
  return round_up(std::min(own, used), unit);
}

double attention_positions(uint32_t rows, uint64_t before) {
  return static_cast<double>(rows) * (static_cast<double>(before) + (rows + 1) / 2.0);
}

Result<ModelWork> work_of(const ModelSource& source) {
  const ModelSpec& spec = source.spec();
  const ExpertSource& experts = source.experts();
  const ModelParts parts = TRY(measure_parts(source));
  ModelWork work;
  work.layers = static_cast<uint32_t>(spec.layers.size());
  work.sparse_layers = spec.sparse_layers();
  work.experts = spec.moe.experts;
  work.top_k = spec.moe.top_k;
  work.dense_weights = static_cast<double>(parts.attention.parameters + parts.routers.parameters +
                                           parts.dense_mlp.parameters);
  work.shared_weights = static_cast<double>(parts.shared_experts.parameters);
  work.output_weights = static_cast<double>(spec.vocab) * spec.hidden;
  work.expert_weights =
      static_cast<double>(parts.experts.parameters) / static_cast<double>(experts.keys().size());
  work.weight_bytes = static_cast<double>(dtype_bytes(experts.layout().dtype));
  for (const ExpertPiece& piece : experts.pieces(experts.keys().front())) {
    work.read_bytes += static_cast<double>(bytes_in_pages(piece));
  }
  const AttentionSpec& attention = spec.attention;
  work.attention_width = attention.q_width();
  // Norms, residuals and packing; the combine scales and adds top_k rows; q, k, v and their norms
  // and rotations; the router's choice. Counted in additions of two rows.
  work.row_elements = 8.0 * spec.hidden + 2.0 * spec.moe.top_k * spec.hidden +
                      4.0 * (attention.q_width() + 2.0 * attention.kv_width()) +
                      16.0 * spec.moe.experts;
  work.layer_sections = spec.moe.shared_intermediate > 0 ? 7 : 5;
  return work;
}

MachineRates rates_of(const MachineFigures& figures, const ModelSource& source,
                      const EngineOptions& options) {
  const KernelFigures& kernels = figures.kernels;
  MachineRates rates;
  const auto curve =
      kernels.products.find(std::string(dtype_name(source.experts().layout().dtype)));
  if (curve != kernels.products.end()) rates.products = curve->second;
  rates.memory_bytes_per_second = figures.memory_bytes_per_second;
  rates.section_seconds = kernels.section_seconds;
  rates.layer_seconds = kLayerSeconds;
  rates.attention_flops = kernels.attention_flops;
  rates.row_elements = kernels.row_elements;
  rates.finish_bytes_per_second = source.experts().direct() ? kernels.checksum_bytes_per_second
                                                            : kernels.interleave_bytes_per_second;
  rates.drive_bytes_per_second = options.drive_bytes_per_second > 0
                                     ? options.drive_bytes_per_second
                                     : figures.drive_bytes_per_second;
  // A drive that was only described keeps its rate; a measured one may do more after a pause.
  if (options.drive_bytes_per_second <= 0) {
    rates.drive_burst_per_second = figures.drive_burst_per_second;
  }
  rates.drive_latency_seconds = figures.drive_latency_seconds;
  return rates;
}

// Every token picks at random: what is assumed of a model without a trace.
RoutingTrace uniform_trace(const ModelSpec& spec, uint32_t prompt, uint32_t decoded) {
  RoutingTrace trace;
  trace.shape = {.layers = spec.router_layers(),
                 .experts = spec.moe.experts,
                 .top_k = spec.moe.top_k,
                 .expert_bytes = 0};
  Prng prng(1);
  std::vector<uint16_t> experts(spec.moe.experts);
  for (uint32_t i = 0; i < experts.size(); ++i) experts[i] = static_cast<uint16_t>(i);
  for (uint32_t token = 0; token < prompt + decoded; ++token) {
    RoutingStep step;
    step.phase = token < prompt ? TracePhase::kPrefill : TracePhase::kDecode;
    step.tokens = {-1};
    for (size_t layer = 0; layer < trace.shape.layers.size(); ++layer) {
      for (uint32_t k = 0; k < spec.moe.top_k; ++k) {
        std::swap(experts[k], experts[k + prng.below(experts.size() - k)]);
        step.routed.push_back({experts[k], 1.0F / static_cast<float>(spec.moe.top_k)});
      }
    }
    trace.steps.push_back(std::move(step));
  }
  return trace;
}

// Everything one prediction is made of.
class RatePredictor {
 public:
  RatePredictor(const ModelSource& source, const EngineOptions& options, const PlannedRun& run,
                const ModelWork& work, const MachineRates& machine)
      : source_(source),
        options_(options),
        run_(run),
        work_(work),
        machine_(machine),
        experts_(static_cast<uint32_t>(source.experts().keys().size())) {}

  // A device is empty at first, and prompts leave it as it is.
  Result<PredictedRates> rates(const MemoryPlan& memory, uint32_t slots,
                               uint32_t device_slots) const {
    PredictedRates rates;
    const StepCost prefill = prefill_cost(memory, slots);
    rates.prefill_seconds = prefill.seconds;
    rates.prefill = run_.prompt / prefill.seconds;
    rates.prefill_bottleneck = bottleneck(prefill);
    const StepCost decode = device_slots > 0 ? TRY(decode_cost_beside(slots, device_slots, rates))
                                             : decode_cost(rates.hit_rate = TRY(hit_rate(slots)));
    rates.decode = options_.sequences / decode.seconds;
    rates.decode_bottleneck = bottleneck(decode);
    rates.decode_bytes_read = decode.bytes_read / options_.sequences;
    return rates;
  }

 private:
  // Of decoding. Below one token's cycle some policies keep what comes last again: the real ones
  // are asked, on routing that knows no favourites unless a trace is given.
  Result<double> hit_rate(uint32_t slots) const {
    if (slots >= experts_) return 1.0;
    const uint32_t picks = work_.sparse_layers * work_.top_k;
    const uint32_t tokens = std::clamp(kTracePicks / picks, 48U, kTraceTokensMax);
    const RoutingTrace made = run_.trace
                                  ? RoutingTrace{}
                                  : uniform_trace(source_.spec(), tokens / 3, tokens - tokens / 3);
    const RoutingTrace& trace = run_.trace ? *run_.trace : made;
    return TRY(simulate(trace, simulation_options(trace, slots))).hit_rate();
  }

  // So many slots as a share of the trace's experts.
  uint32_t slots_of_trace(const RoutingTrace& trace, uint32_t slots) const {
    const uint64_t traced = trace.shape.layers.size() * uint64_t{trace.shape.experts};
    return static_cast<uint32_t>(slots * traced / experts_);
  }

  SimulationOptions simulation_options(const RoutingTrace& trace, uint32_t slots) const {
    SimulationOptions simulation;
    simulation.slots = std::max(trace.shape.top_k, slots_of_trace(trace, slots));
    simulation.policy = options_.policy;
    simulation.predictor = "none";
    simulation.expert_bytes = 1 << 20;
    simulation.bytes_per_second = 1e12;
    return simulation;
  }

  // What is decoded, as far as a device has not seen it all.
  RoutingTrace decoded_trace() const {
    const uint32_t tokens = std::min(std::max(run_.tokens, 2U) - 1, kTraceTokensMax);
    if (!run_.trace) return uniform_trace(source_.spec(), 0, tokens);
    RoutingTrace decoded = *run_.trace;
    std::erase_if(decoded.steps,
                  [](const RoutingStep& step) { return step.phase != TracePhase::kDecode; });
    if (decoded.steps.empty()) return uniform_trace(source_.spec(), 0, tokens);
    if (decoded.steps.size() > tokens) decoded.steps.resize(tokens);
    return decoded;
  }

  // The device fills while tokens are decoded, so every token has its own misses.
  Result<StepCost> decode_cost_beside(uint32_t slots, uint32_t device_slots,
                                      PredictedRates& rates) const {
    const RoutingTrace trace = decoded_trace();
    SimulationOptions simulation = simulation_options(trace, slots);
    simulation.prompted = true;
    simulation.expert_bytes = static_cast<uint64_t>(work_.read_bytes);
    simulation.bytes_per_second = machine_.drive_bytes_per_second;
    simulation.expert_seconds =
        work_.expert_weights * seconds_per_weight(machine_.products, options_.sequences);
    simulation.layer_seconds = work_.dense_weights / work_.layers *
                               seconds_per_weight(machine_.products, options_.sequences);
    simulation.device = {.slots = std::max(1U, slots_of_trace(trace, device_slots)),
                         .link_bytes_per_second = run_.link_bytes_per_second,
                         .link_latency_seconds = run_.link_latency_seconds,
                         .memory_bytes_per_second = machine_.memory_bytes_per_second};
    const SimulationResult simulated = TRY(simulate(trace, simulation));
    const auto uses = static_cast<double>(simulated.uses());
    rates.hit_rate = simulated.hit_rate();
    rates.device_hit_rate = static_cast<double>(simulated.device_hits) / uses;
    const auto tokens = static_cast<double>(simulated.tokens);
    StepCost mean;
    if (run_.processor_copies && machine_.memory_bytes_per_second > 0) {  // reads and writes
      mean.seconds = static_cast<double>(simulated.copies) / tokens * 2 * work_.read_bytes /
                     machine_.memory_bytes_per_second;
    }
    for (const uint32_t misses : simulated.misses_of_tokens) {
      mean.add(decode_cost(1 - misses / (uses / tokens)), 1 / tokens);
    }
    return mean;
  }

  // Slots are filled layer by layer while loading; a prompt's sweeps leave them as they are, but
  // for a few that the first one takes when they were used.
  std::vector<double> filled(uint32_t slots, bool swept) const {
    std::vector<double> resident(work_.sparse_layers);
    const uint32_t kept = swept ? slots - std::min(slots, kSweepSlots) : slots;
    const double scale = slots > 0 ? static_cast<double>(kept) / slots : 0;
    for (uint32_t layer = 0; layer < work_.sparse_layers; ++layer) {
      const double left = static_cast<double>(slots) - static_cast<double>(layer) * work_.experts;
      resident[layer] = std::clamp(left / work_.experts, 0.0, 1.0) * scale;
    }
    return resident;
  }

  StepCost prefill_cost(const MemoryPlan& memory, uint32_t slots) const {
    StepCost cost;
    for (uint32_t done = 0; done < run_.prompt;) {
      const uint32_t rows = std::min(memory.chunk, run_.prompt - done);
      const double wanted = expected_experts(work_.experts, work_.top_k, rows);
      const bool sweeps = rows > 1 && wanted * work_.sparse_layers > slots;
      const bool last = done + rows == run_.prompt;
      cost.add(step_cost(
          work_, machine_,
          {.rows = rows, .positions = attention_positions(rows, done), .logits = last ? 1U : 0U},
          filled(slots, sweeps && done > 0 && slots < experts_)));
      done += rows;
    }
    return cost;
  }

  StepCost decode_cost(double hit_rate) const {
    const uint32_t batch = options_.sequences;
    const double positions = run_.prompt + run_.tokens / 2.0;
    return step_cost(work_, machine_,
                     {.rows = batch,
                      .positions = batch * positions,
                      .logits = batch,
                      .read_ahead = read_ahead()},
                     std::vector<double>(work_.sparse_layers, hit_rate));
  }

  // On routing that knows no favourites only routers can tell what comes.
  double read_ahead() const {
    const auto asks = {"twice", "next-layer", "next-two", "pre-attention"};
    const bool foreseen = std::ranges::find(asks, options_.predictor) != asks.end();
    return options_.prefetch && foreseen ? kReadAhead : 0;
  }

  const ModelSource& source_;
  const EngineOptions& options_;
  const PlannedRun& run_;
  const ModelWork& work_;
  const MachineRates& machine_;
  const uint32_t experts_;
};

uint64_t last_position(const PlannedRun& run) {
  return uint64_t{run.prompt} + std::max(run.tokens, 1U) - 1;
}

// For experts when the run ends.
uint32_t slots_left(const ModelSource& source, const EngineOptions& options, const PlannedRun& run,
                    const MemoryPlan& memory) {
  const auto experts = static_cast<uint32_t>(source.experts().keys().size());
  return std::min(experts, memory.slots + memory.kv_slots -
                               Engine::kv_slots(source, options, last_position(run)));
}

// All that needs no rates.
Result<Prediction> predict_memory(const ModelSource& source, const EngineOptions& options,
                                  const PlannedRun& run) {
  Prediction prediction;
  prediction.memory = TRY(Engine::plan(source, options));
  prediction.experts = static_cast<uint32_t>(source.experts().keys().size());
  const MemoryPlan& memory = prediction.memory;
  const uint64_t slot_bytes = source.experts().slot_bytes();
  prediction.slots = slots_left(source, options, run, memory);
  prediction.device_slots =
      static_cast<uint32_t>(std::min<uint64_t>(run.device_bytes / slot_bytes, prediction.experts));
  if (run.device_bytes > 0 && prediction.device_slots == 0) {
    return fail(Code::kNoMemory,
                fmt::format("{} hold no expert of {}", format_size(run.device_bytes),
                            format_size(slot_bytes)),
                "--device", fmt::format("give it {} or more", size_option(slot_bytes)));
  }
  const uint64_t touched =
      std::min(memory.slots + memory.kv_slots,
               prediction.experts + Engine::kv_slots(source, options, last_position(run)));
  prediction.program_bytes = run.program_bytes + kRunBytes;
  prediction.total_bytes = prediction.program_bytes + slab_resident(memory.dense_bytes) +
                           slab_resident(touched * slot_bytes + memory.staging_bytes) +
                           slab_resident(memory.activation_bytes) +
                           kv_resident(source, options, last_position(run), memory);
  return prediction;
}

}  // namespace

void PlannedRun::take_device(const EngineOptions& options) {
  if (options.device == nullptr) return;
  device_bytes = options.device->capacity_bytes();
  link_bytes_per_second = options.device->link().bytes_per_second;
  link_latency_seconds = options.device->link().latency_seconds;
  processor_copies = options.device->host_readable();
}

Result<Prediction> predict(const ModelSource& source, const EngineOptions& options,
                           const PlannedRun& run, const MachineFigures& figures) {
  Prediction prediction = TRY(predict_memory(source, options, run));
  const ModelWork work = TRY(work_of(source));
  const MachineRates machine = rates_of(figures, source, options);
  const RatePredictor predictor(source, options, run, work, machine);
  prediction.rates =
      TRY(predictor.rates(prediction.memory, prediction.slots, prediction.device_slots));
  if (!run.one_more_gib) return prediction;
  EngineOptions more = options;
  more.memory_bytes += kGib;
  if (more.expert_bytes_max != UINT64_MAX) more.expert_bytes_max += kGib;
  const MemoryPlan larger = TRY(Engine::plan(source, more));
  const uint32_t slots = slots_left(source, more, run, larger);
  prediction.one_more_gib = TRY(predictor.rates(larger, slots, prediction.device_slots));
  return prediction;
}

bool figures_suffice(const MachineFigures& figures, const ModelSource& source,
                     const EngineOptions& options) {
  const KernelFigures& kernels = figures.kernels;
  const bool measured =
      kernels.products.contains(std::string(dtype_name(source.experts().layout().dtype))) &&
      kernels.section_seconds > 0 && kernels.attention_flops > 0 && kernels.row_elements > 0 &&
      kernels.checksum_bytes_per_second > 0 && kernels.interleave_bytes_per_second > 0;
  const bool same =
      figures.threads == options.threads && (options.isa.empty() || options.isa == figures.isa);
  return measured && same &&
         (figures.drive_bytes_per_second > 0 || options.drive_bytes_per_second > 0);
}

uint64_t resident_bytes() {
  const auto kib = number_of_key(read_small_file("/proc/self/status"), "VmRSS");
  return kib.value_or(0) * 1024;
}

}  // namespace switchyard
