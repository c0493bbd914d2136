#include "scheduler/cost_model.h"

#include <algorithm>
#include <cmath>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

// Idle seconds that a drive or a limit on it makes good later: a part of what Linux looks at at
// once.
constexpr double kSavedUpMax = 0.05;

// Calls visit(n, chance) for n = 0 … `count` successes of so many trials.
template <class Visit>
void visit_binomial(uint32_t count, double probability, const Visit& visit) {
  const double odds = std::log(probability / (1 - probability));
  double log_chance = count * std::log1p(-probability);
  for (uint32_t n = 0; n <= count; ++n) {
    visit(n, std::exp(log_chance));
    log_chance += std::log((count - n) / (n + 1.0)) + odds;
  }
}

// Seconds a weight that a wanted expert takes when each of `rows` tokens picks it by chance: some
// have many tokens, some few.
double expert_seconds_per_weight(const ProductCurve& curve, double chance, uint32_t rows) {
  if (chance >= 1 || rows == 1) return seconds_per_weight(curve, rows);
  double seconds = 0, wanted = 0;
  visit_binomial(rows, chance, [&](uint32_t tokens, double probability) {
    if (tokens == 0) return;
    wanted += probability;
    seconds += probability * seconds_per_weight(curve, tokens);
  });
  return seconds / wanted;
}

// What one layer's experts cost, in seconds, when some of them are read.
struct ExpertTimes {
  double compute = 0;  // of one expert, the mean
  double finish = 0;   // of one that was read
  double read = 0;     // of one, by a drive that has saved up
  double kept_up = 0;  // of one, in the long run
  double latency = 0;  // until the first bytes
  double beside = 0;   // of what is computed meanwhile
};

struct LayerCost {
  double seconds = 0;
  double idle = 0;  // of the drive, after the last read and before those of the next layer
  double stall = 0;
};

// `wanted` experts of which `missing` are read, one after the other; the last one is made ready and
// computed when its bytes are there.
LayerCost experts_cost(const ExpertTimes& times, double wanted, double missing, double saved_up) {
  const double busy = times.beside + wanted * times.compute + missing * times.finish;
  const double after_last = times.compute + times.finish;
  const double reading =
      times.latency + std::max(missing * times.read, missing * times.kept_up - saved_up);
  const double read = missing > 0 ? reading + after_last : 0;
  const double seconds = std::max(busy, read);
  LayerCost cost{.seconds = seconds};
  cost.stall = seconds - busy;
  cost.idle = seconds - std::max(read - after_last, 0.0);
  return cost;
}

// The mean over how many of `wanted` experts are missing when each is so with `probability`.
LayerCost mean_experts_cost(const ExpertTimes& times, double wanted, double probability,
                            double saved_up) {
  const auto count = static_cast<uint32_t>(std::lround(wanted));
  if (count == 0 || probability <= 0 || probability >= 1) {
    return experts_cost(times, wanted, wanted * std::clamp(probability, 0.0, 1.0), saved_up);
  }
  LayerCost mean;
  const double scale = wanted / count;  // `wanted` need be no whole number
  visit_binomial(count, probability, [&](uint32_t missing, double chance) {
    const LayerCost cost = experts_cost(times, wanted, missing * scale, saved_up);
    mean.seconds += chance * cost.seconds;
    mean.stall += chance * cost.stall;
    mean.idle += chance * cost.idle;
  });
  return mean;
}

}  // namespace

void StepCost::add(const StepCost& other, double times) {
  seconds += times * other.seconds;
  stall_seconds += times * other.stall_seconds;
  memory_seconds += times * other.memory_seconds;
  bytes_read += times * other.bytes_read;
}

double seconds_per_weight(const ProductCurve& curve, double tokens) {
  CHECK(!curve.empty());
  const auto seconds = [](const ProductPoint& point) { return 1 / point.weights_per_second; };
  if (tokens <= curve.front().tokens) return seconds(curve.front());
  for (size_t i = 1; i < curve.size(); ++i) {
    if (tokens > curve[i].tokens) continue;
    const double span = curve[i].tokens - curve[i - 1].tokens;
    const double at = (tokens - curve[i - 1].tokens) / span;
    return (1 - at) * seconds(curve[i - 1]) + at * seconds(curve[i]);
  }
  return seconds(curve.back()) * tokens / curve.back().tokens;
}

double expected_experts(uint32_t experts, uint32_t top_k, uint32_t rows) {
  const double unused = 1 - static_cast<double>(top_k) / experts;
  return experts * (1 - std::pow(unused, rows));
}

StepCost step_cost(const ModelWork& work, const MachineRates& machine, const StepShape& step,
                   std::span<const double> resident) {
  CHECK_THAT(resident.size() == work.sparse_layers, "{} of {}", resident.size(),
             work.sparse_layers);
  const double all_rows = seconds_per_weight(machine.products, step.rows);
  const double wanted = expected_experts(work.experts, work.top_k, step.rows);
  const double chance = static_cast<double>(work.top_k) / work.experts;
  const double per_layer = step.rows * work.row_elements / machine.row_elements +
                           work.layer_sections * machine.section_seconds + machine.layer_seconds +
                           4 * step.positions * work.attention_width / machine.attention_flops;
  const double expert_bytes = work.expert_weights * work.weight_bytes;
  const ExpertTimes times = {
      .compute =
          work.expert_weights * expert_seconds_per_weight(machine.products, chance, step.rows),
      .finish = expert_bytes / machine.finish_bytes_per_second,
      .read = work.read_bytes /
              std::max(machine.drive_burst_per_second, machine.drive_bytes_per_second),
      .kept_up = work.read_bytes / machine.drive_bytes_per_second,
      .latency = machine.drive_latency_seconds,
      .beside = work.shared_weights / work.sparse_layers * all_rows};
  StepCost cost;
  cost.seconds = work.layers * per_layer + work.dense_weights * all_rows;
  if (step.logits > 0) {
    cost.seconds += work.output_weights * seconds_per_weight(machine.products, step.logits);
  }
  const double before = per_layer + work.dense_weights / work.layers * all_rows;
  const bool saves = times.read < times.kept_up;
  double saved_up = cost.seconds - (work.layers - 1) * before;  // since the last step's reads
  double idle = 0;  // of the drive since the last layer's reads; none are foreseen for the first
  for (const double share : resident) {
    saved_up = saves ? std::min(saved_up, kSavedUpMax) : 0;
    const double missing = wanted * (1 - share);
    LayerCost layer = mean_experts_cost(times, wanted, 1 - share, saved_up);
    saved_up = std::max(saved_up + layer.seconds - missing * times.kept_up, 0.0) + before;
    // Idle time that was saved up is not there to read ahead.
    const double ahead = saves ? 0 : step.read_ahead * std::min(idle, missing * times.read);
    const double hidden = std::min(ahead, layer.stall);
    cost.seconds += layer.seconds - hidden;
    cost.stall_seconds += layer.stall - hidden;
    cost.bytes_read += missing * work.read_bytes;
    idle = layer.idle + before;
  }
  const double weights = work.dense_weights + work.shared_weights +
                         (step.logits > 0 ? work.output_weights : 0) +
                         work.sparse_layers * wanted * work.expert_weights;
  if (machine.memory_bytes_per_second > 0) {
    cost.memory_seconds = weights * work.weight_bytes / machine.memory_bytes_per_second;
  }
  return cost;
}

std::string_view bottleneck(const StepCost& cost) {
  const double computing = cost.seconds - cost.stall_seconds;
  if (cost.stall_seconds >= computing) return "drive";
  return cost.memory_seconds >= computing / 2 ? "memory" : "compute";
}

}  // namespace switchyard
