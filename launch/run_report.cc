#include "launch/run_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <functional>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "launch/cgroup.h"
#include "launch/plan_report.h"
#include "launch/traffic_report.h"
#include "runtime/base/hash.h"
#include "runtime/base/process.h"
#include "runtime/base/units.h"
#include "runtime/device/device.h"

namespace switchyard {
namespace {

double rate(double amount, double seconds) { return seconds > 0 ? amount / seconds : 0; }

std::string of_limit(double value, double limit) {
  return limit > 0 ? fmt::format(" ({:.0f} % of what was measured)", 100 * value / limit) : "";
}

// By horizon, the whole and each layer: [slots, routes, gate mass], 0 … 1.
Json recall_json(const std::vector<std::vector<LayerRecall>>& recall) {
  constexpr std::pair<const char*, Horizon> kNames[] = {{"same_layer", Horizon::kSameLayer},
                                                        {"pre_attention", Horizon::kPreAttention},
                                                        {"one_ahead", Horizon::kOneAhead},
                                                        {"two_ahead", Horizon::kTwoAhead}};
  const auto shares = [](const LayerRecall& recall) {
    return Json{rate(static_cast<double>(recall.slots_hit), static_cast<double>(recall.slots)),
                rate(static_cast<double>(recall.routes_hit), static_cast<double>(recall.tokens)),
                rate(recall.mass_hit, recall.mass)};
  };
  Json json;
  for (const auto& [name, horizon] : kNames) {
    LayerRecall all;
    Json layers = Json::array();
    for (const LayerRecall& layer : recall[static_cast<size_t>(horizon)]) {
      all.add(layer);
      layers.push_back(layer.tokens > 0 ? shares(layer) : Json());
    }
    if (all.tokens > 0) json[name] = {{"all", shares(all)}, {"layers", std::move(layers)}};
  }
  return json;
}

Json misses_by_layer(const EngineCounters& counters) {
  Json misses = Json::array();
  for (const LayerUses& layer : counters.layers) misses.push_back(layer.misses);
  return misses;
}

// "; most misses in layers 3, 0, 5" when there are some.
std::string worst_layers(const EngineCounters& counters) {
  std::vector<size_t> order;
  for (size_t layer = 0; layer < counters.layers.size(); ++layer) {
    if (counters.layers[layer].misses > 0) order.push_back(layer);
  }
  std::ranges::stable_sort(order, std::ranges::greater(),
                           [&](size_t layer) { return counters.layers[layer].misses; });
  if (order.size() > 3) order.resize(3);
  return order.empty() ? "" : fmt::format("; most misses in layers {}", fmt::join(order, ", "));
}

std::string prefetch_summary(const RunReport& report) {
  const EngineCounters& all = report.generation.all;
  const PrefetchCounters& prefetch = all.prefetch;
  if (report.generation.all.expert_slots >= report.experts) return {};
  std::string text;
  if (report.oracle_hit_rate) {
    text = fmt::format("the optimum would have had {:.1f} % of the last tokens' experts{}\n",
                       100 * *report.oracle_hit_rate, worst_layers(all));
  }
  if (report.predictor == "none") return text;
  text += fmt::format(
      "read ahead ({}): {} experts in time, {} late; {} useful, {} wasted; waited {} for reads",
      report.predictor, prefetch.hits, prefetch.late, format_size(prefetch.useful_bytes),
      format_size(prefetch.wasted_bytes), format_seconds(all.stall_seconds));
  if (prefetch.steps_rested > 0) {
    text += fmt::format("; off in {} of {} steps, too much was wasted", prefetch.steps_rested,
                        prefetch.steps);
  }
  return text + "\n";
}

Json tiers_json(const RunReport& report) {
  const EngineCounters& all = report.generation.all;
  return {{"device",
           {{"name", report.device},
            {"hits", all.device.hits},
            {"slots", report.device_slots},
            {"copies", all.device.copies},
            {"copied_bytes", all.device.copied_bytes},
            {"copies_failed", all.device.copies_failed}}},
          {"host",
           {{"hits", all.expert_hits - all.device.hits},
            {"slots", report.generation.all.expert_slots}}},
          {"drive", {{"misses", all.expert_misses}}}};
}

std::string device_summary(const RunReport& report) {
  if (report.device_slots == 0) return {};
  const EngineCounters& all = report.generation.all;
  const auto share = [&](uint64_t uses) {
    return 100 * rate(static_cast<double>(uses),
                      static_cast<double>(all.expert_hits + all.expert_misses));
  };
  return fmt::format(
      "device {}: {} slots, {:.1f} % of the experts' uses, {:.1f} % in host memory, {:.1f} % on "
      "the "
      "drive; {} copies, {}\n",
      report.device, report.device_slots, share(all.device.hits),
      share(all.expert_hits - all.device.hits), share(all.expert_misses), all.device.copies,
      format_size(all.device.copied_bytes));
}

std::string part_of_prompt(const RunReport& report) {
  const uint64_t done = report.generation.prompt_done;
  return done < report.prompt_tokens ? fmt::format(" ({} computed)", done) : "";
}

}  // namespace

double RunReport::prefill_rate() const {
  return rate(static_cast<double>(generation.prompt_done), generation.prefill_seconds);
}

double RunReport::decode_rate() const {
  const size_t tokens = generation.ids.size();
  return tokens > 1 ? rate(static_cast<double>(tokens - 1), generation.decode_seconds) : 0;
}

double RunReport::hit_rate() const {
  const uint64_t uses = generation.all.expert_hits + generation.all.expert_misses;
  return uses > 0 ? static_cast<double>(generation.all.expert_hits) / static_cast<double>(uses) : 0;
}

double RunReport::weight_bytes_per_second() const {
  const uint64_t bytes = generation.all.weight_bytes_used - generation.prefill.weight_bytes_used;
  return rate(static_cast<double>(bytes), generation.decode_seconds);
}

double RunReport::read_bytes_per_second() const {
  return rate(static_cast<double>(generation.all.expert_bytes_read),
              generation.prefill_seconds + generation.decode_seconds);
}

Json report_json(const RunReport& report) {
  const GenerationResult& made = report.generation;
  Json json = {
      {"text", report.text},
      {"ids", made.ids},
      {"prompt_tokens", report.prompt_tokens},
      {"generated_tokens", made.ids.size()},
      {"finish", finish_name(made.finish)},
      {"logits_hash", hash_hex(made.logits_hash)},
      {"seconds",
       {{"load", report.load_seconds},
        {"prefill", made.prefill_seconds},
        {"decode", made.decode_seconds},
        {"read_wait", made.all.stall_seconds},
        {"decode_read_wait", made.all.stall_seconds - made.prefill.stall_seconds}}},
      {"tokens_per_second", {{"prefill", report.prefill_rate()}, {"decode", report.decode_rate()}}},
      {"time_to_first_token_seconds", made.ids.empty() ? Json() : Json(made.prefill_seconds)},
      {"memory",
       {{"budget_bytes", report.memory.budget_bytes},
        {"planned_bytes", report.memory.total_bytes()},
        {"peak_rss_bytes", report.peak_rss_bytes}}},
      {"experts",
       {{"hits", made.all.expert_hits},
        {"misses", made.all.expert_misses},
        {"hit_rate", report.hit_rate()},
        {"prefetched", made.all.prefetch.hits},
        {"late", made.all.prefetch.late},
        {"misses_by_layer", misses_by_layer(made.all)},
        {"slots", report.generation.all.expert_slots},
        {"tiers", tiers_json(report)},
        {"count", report.experts}}},
      {"io",
       {{"bytes_read", made.all.expert_bytes_read},
        {"gb_per_s", report.read_bytes_per_second() / 1e9},
        {"load_bytes", report.load_bytes},
        {"path", report.read_path}}},
      {"weights", {{"decode_gb_per_s", report.weight_bytes_per_second() / 1e9}}},
      {"prefetch",
       {{"policy", report.policy},
        {"predictor", report.predictor},
        {"started", made.all.prefetch.started},
        {"useful_bytes", made.all.prefetch.useful_bytes},
        {"wasted_bytes", made.all.prefetch.wasted_bytes},
        {"steps", made.all.prefetch.steps},
        {"steps_rested", made.all.prefetch.steps_rested},
        {"read_retries", made.all.read_retries}}},
      {"layout",
       report.ranks.empty() ? "A" : layout_used(report.layout, traffic_sums(report.ranks))},
      {"ranks", std::max<size_t>(report.ranks.size(), 1)},
      {"isa", report.isa},
      {"threads", report.threads},
      {"context", report.context},
      {"chunk", report.memory.chunk},
  };
  if (!report.ranks.empty()) json["traffic"] = traffic_json(report.layout, report.ranks);
  if (report.oracle_hit_rate) json["experts"]["oracle_hit_rate"] = *report.oracle_hit_rate;
  if (!report.recall.empty()) json["prefetch"]["recall"] = recall_json(report.recall);
  if (report.predicted) json["predicted"] = prediction_json(*report.predicted);
  const MachineLimits& limits = report.limits;
  if (limits.memory_bytes_per_second > 0) {
    json["weights"]["of_measured"] =
        report.weight_bytes_per_second() / limits.memory_bytes_per_second;
  }
  if (limits.drive_bytes_per_second > 0) {
    json["io"]["of_measured"] = report.read_bytes_per_second() / limits.drive_bytes_per_second;
  }
  return json;
}

std::string prediction_summary(const RunReport& report) {
  if (!report.predicted) return {};
  const Prediction& predicted = *report.predicted;
  const PredictedRates& rates = predicted.rates;
  const auto pair = [](const char* name, double expected, double value) {
    return value > 0 ? fmt::format("{} {:.2f} tok/s, was {:.2f}; ", name, expected, value) : "";
  };
  return fmt::format("predicted for uniform routing: {}{}memory {}, was {}\n",
                     pair("prefill", rates.prefill, report.prefill_rate()),
                     pair("decode", rates.decode, report.decode_rate()),
                     format_size(predicted.total_bytes), format_size(report.peak_rss_bytes));
}

std::string report_summary(const RunReport& report) {
  const MachineLimits& limits = report.limits;
  const GenerationResult& made = report.generation;
  const double weights = report.weight_bytes_per_second();
  const double reads = report.read_bytes_per_second();
  std::string text = fmt::format(
      "prompt {} tokens{}, {:.1f} tok/s; generated {} tokens, {:.1f} tok/s; {}loaded in {}\n",
      report.prompt_tokens, part_of_prompt(report), report.prefill_rate(), made.ids.size(),
      report.decode_rate(),
      made.ids.empty()
          ? ""
          : fmt::format("first token after {}; ", format_seconds(made.prefill_seconds)),
      format_seconds(report.load_seconds));
  text += fmt::format("experts: {:.1f} % hits, {} of {} in memory; read {} at {}{}\n",
                      100 * report.hit_rate(), report.generation.all.expert_slots, report.experts,
                      format_size(made.all.expert_bytes_read), format_rate(reads),
                      of_limit(reads, limits.drive_bytes_per_second));
  text += fmt::format("weights: {} while decoding{}; peak memory {}, budget {}; {} threads, {}\n",
                      format_rate(weights), of_limit(weights, limits.memory_bytes_per_second),
                      format_size(report.peak_rss_bytes), format_size(report.memory.budget_bytes),
                      report.threads, report.isa);
  text += device_summary(report);
  if (!report.ranks.empty()) text += traffic_summary(report.layout, report.ranks);
  text += prefetch_summary(report);
  text += prediction_summary(report);
  if (limits.memory_bytes_per_second <= 0 || limits.drive_bytes_per_second <= 0) {
    text += "run `switchyard doctor` once to compare with this machine's limits\n";
  }
  return text;
}

uint64_t peak_rss_bytes(const Device* device) {
  const uint64_t peak = peak_resident_bytes();
  return peak - std::min(peak, device != nullptr ? device->host_bytes_peak() : 0);
}

}  // namespace switchyard
