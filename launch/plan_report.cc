#include "launch/plan_report.h"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "launch/report_text.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

std::string difference(double predicted, double measured) {
  return measured > 0 ? fmt::format("{:+.1f} %", 100 * (predicted / measured - 1)) : "";
}

std::string more_text(const PredictedRates& now, const PredictedRates& more) {
  return fmt::format(
      "{:.1f} % hits, decode {:.2f} tok/s ({:+.1f} %), prefill {:.1f} tok/s "
      "({:+.1f} %)",
      100 * more.hit_rate, more.decode, 100 * (more.decode / now.decode - 1), more.prefill,
      100 * (more.prefill / now.prefill - 1));
}

Json to_json(const PredictedRates& rates) {
  return {{"hit_rate", rates.hit_rate},
          {"device_hit_rate", rates.device_hit_rate},
          {"tokens_per_second", {{"prefill", rates.prefill}, {"decode", rates.decode}}}};
}

}  // namespace

Json prediction_json(const Prediction& prediction) {
  const MemoryPlan& memory = prediction.memory;
  const PredictedRates& rates = prediction.rates;
  Json json = to_json(rates);
  json["time_to_first_token_seconds"] = rates.prefill_seconds;
  json["bottleneck"] = rates.decode_bottleneck;
  json["prefill_bottleneck"] = rates.prefill_bottleneck;
  json["memory"] = {{"total_bytes", prediction.total_bytes},
                    {"budget_bytes", memory.budget_bytes},
                    {"planned_bytes", memory.total_bytes()}};
  json["parts"] = {
      {"dense_bytes", memory.dense_bytes},        {"kv_bytes", memory.kv_bytes},
      {"other_bytes", memory.other_bytes},        {"activation_bytes", memory.activation_bytes},
      {"staging_bytes", memory.staging_bytes},    {"slots_bytes", memory.slots_bytes},
      {"program_bytes", prediction.program_bytes}};
  json["experts"] = {{"count", prediction.experts},
                     {"in_memory", prediction.slots},
                     {"on_device", prediction.device_slots},
                     {"on_drive", prediction.on_drive()}};
  json["io"] = {{"bytes_read_per_token", rates.decode_bytes_read}};
  json["chunk"] = memory.chunk;
  if (prediction.one_more_gib) json["one_more_gib"] = to_json(*prediction.one_more_gib);
  return json;
}

std::string prediction_text(const Prediction& prediction) {
  const MemoryPlan& memory = prediction.memory;
  const PredictedRates& rates = prediction.rates;
  std::string text = fact_line(
      "memory", fmt::format("{} resident at most, budget {}", format_size(prediction.total_bytes),
                            format_size(memory.budget_bytes)));
  const auto part = [&](const char* name, uint64_t bytes) {
    if (bytes > 0) text += fact_line(name, format_size(bytes));
  };
  part("  dense weights", memory.dense_bytes);
  part("  expert slots", memory.slots_bytes);
  part("  on their way", memory.staging_bytes);
  part("  KV cache", memory.kv_bytes);
  part("  activations", memory.activation_bytes);
  part("  tables", memory.other_bytes);
  part("  program", prediction.program_bytes);
  text += fact_line("experts", fmt::format("{}: {} in memory, {} on a device, {} on the drive",
                                           prediction.experts, prediction.slots,
                                           prediction.device_slots, prediction.on_drive()));
  text +=
      fact_line("decode", fmt::format("{:.2f} tok/s, {:.1f} % hits, {} read a token; limited by {}",
                                      rates.decode, 100 * rates.hit_rate,
                                      format_size(static_cast<uint64_t>(rates.decode_bytes_read)),
                                      rates.decode_bottleneck));
  text += fact_line(
      "prefill",
      fmt::format("{:.1f} tok/s, first token after {}, chunks of {}; limited by {}", rates.prefill,
                  format_seconds(rates.prefill_seconds), memory.chunk, rates.prefill_bottleneck));
  if (!prediction.one_more_gib) return text;
  return text + fact_line("one more GiB", more_text(rates, *prediction.one_more_gib));
}

std::string comparison_text(const Prediction& prediction, const MeasuredRun& measured) {
  constexpr const char* kLine = "{:<16}{:>14}{:>14}{:>12}\n";
  const PredictedRates& rates = prediction.rates;
  std::string text = fmt::format(kLine, "", "predicted", "measured", "");
  text += fmt::format(kLine, "memory", format_size(prediction.total_bytes),
                      format_size(measured.peak_rss_bytes),
                      difference(static_cast<double>(prediction.total_bytes),
                                 static_cast<double>(measured.peak_rss_bytes)));
  text += fmt::format(kLine, "hit rate", fmt::format("{:.1f} %", 100 * rates.hit_rate),
                      fmt::format("{:.1f} %", 100 * measured.hit_rate), "");
  if (prediction.device_slots > 0) {
    text +=
        fmt::format(kLine, "  on a device", fmt::format("{:.1f} %", 100 * rates.device_hit_rate),
                    fmt::format("{:.1f} %", 100 * measured.device_hit_rate), "");
  }
  const auto row = [&](const char* name, double predicted, double value) {
    if (value <= 0) return;
    text += fmt::format(kLine, name, fmt::format("{:.2f} tok/s", predicted),
                        fmt::format("{:.2f} tok/s", value), difference(predicted, value));
  };
  row("prefill", rates.prefill, measured.prefill);
  row("decode", rates.decode, measured.decode);
  return text;
}

Json measured_json(const MeasuredRun& measured) {
  return {{"memory", {{"peak_rss_bytes", measured.peak_rss_bytes}}},
          {"hit_rate", measured.hit_rate},
          {"device_hit_rate", measured.device_hit_rate},
          {"tokens_per_second", {{"prefill", measured.prefill}, {"decode", measured.decode}}}};
}

}  // namespace switchyard
