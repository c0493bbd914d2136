// trace: what a routing trace says of a model's experts.

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "experts/trace_file.h"
#include "experts/trace_stats.h"
#include "launch/commands/commands.h"
#include "launch/html_page.h"
#include "launch/json_output.h"
#include "launch/options.h"
#include "launch/report_text.h"
#include "runtime/base/file.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr uint64_t kShares[] = {10, 25, 50};

struct TraceOptions {
  std::string file;
  std::optional<std::string> html;
  std::optional<std::string> json;
};

struct Seen {
  std::string file;
  const RoutingTrace* trace = nullptr;
  TraceStats stats;
};

// A name out of a file as a terminal may show it.
std::string printable(std::string text) {
  const bool utf8 = is_utf8(text);
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f || (byte >= 0x80 && !utf8)) c = '?';
  }
  return text;
}

double percent(uint64_t part, uint64_t whole) {
  return whole > 0 ? 100 * static_cast<double>(part) / static_cast<double>(whole) : 0;
}

std::string counts_text(const TraceStats& stats) {
  return fmt::format("{}, {}, {} and {} generated", counted(stats.requests, "request"),
                     counted(stats.steps, "step"), counted(stats.prefill_tokens, "prompt token"),
                     stats.decode_tokens);
}

std::string experts_text(const Seen& seen) {
  const TraceShape& shape = seen.trace->shape;
  const std::string size =
      shape.expert_bytes > 0 ? fmt::format(", {} each", format_size(shape.expert_bytes)) : "";
  return fmt::format("{} layers of {}, top-{}{}; {} of {} were used", shape.layers.size(),
                     shape.experts, shape.top_k, size, seen.stats.touched, seen.stats.pool);
}

std::string popularity_text(const TraceStats& stats) {
  std::string text = "the most popular";
  for (const uint64_t share : kShares) {
    text += fmt::format("{} {} % get {:.1f} %", share == kShares[0] ? "" : ",", share,
                        100 * stats.popularity[share]);
  }
  return text + " of the picks";
}

std::string reuse_text(const TraceStats& stats) {
  return fmt::format(
      "median {} experts ({:.1f} % of all) between two uses of one; {} uses, {} of them first",
      stats.reuse_median, percent(stats.reuse_median, stats.pool), stats.uses, stats.first_uses);
}

std::string working_set_text(const TraceStats& stats) {
  std::string text;
  for (const WorkingSet& set : stats.working_sets) {
    text += fmt::format("{}{:.0f} experts in {}", text.empty() ? "" : ", ", set.mean,
                        counted(set.tokens, "token"));
  }
  return text;
}

std::string skew_text(const Seen& seen) {
  const auto& layers = seen.stats.layers;
  const auto worst = std::ranges::max_element(layers, {}, &LayerSkew::imbalance);
  double entropy = 0;
  for (const LayerSkew& layer : layers) entropy += layer.entropy_bits;
  return fmt::format(
      "entropy {:.2f} of {:.2f} bits in the mean; the busiest expert has {:.1f} × its share in "
      "layer {}",
      entropy / static_cast<double>(layers.size()), std::log2(seen.trace->shape.experts),
      worst->imbalance, worst->layer);
}

std::string text_of(const Seen& seen) {
  std::string text = fact_line("routing trace", printable(seen.file));
  if (!seen.trace->model.empty()) text += fact_line("model", printable(seen.trace->model));
  text += fact_line("recorded", counts_text(seen.stats));
  text += fact_line("experts", experts_text(seen));
  text += fact_line("popularity", popularity_text(seen.stats));
  text += fact_line("reuse distance", reuse_text(seen.stats));
  text += fact_line("working set", working_set_text(seen.stats));
  return text + fact_line("skew by layer", skew_text(seen));
}

Json json_of(const Seen& seen) {
  const TraceStats& stats = seen.stats;
  const TraceShape& shape = seen.trace->shape;
  Json popularity, histogram = Json::array(), sets = Json::array(), layers = Json::array();
  for (const uint64_t share : kShares) {
    popularity[fmt::format("top_{}_percent", share)] = stats.popularity[share];
  }
  for (const ReuseBucket& bucket : stats.reuse) {
    histogram.push_back({{"from", bucket.from}, {"to", bucket.to}, {"uses", bucket.uses}});
  }
  for (const WorkingSet& set : stats.working_sets) {
    sets.push_back({{"tokens", set.tokens}, {"mean", set.mean}, {"max", set.max}});
  }
  for (const LayerSkew& layer : stats.layers) {
    layers.push_back({{"layer", layer.layer},
                      {"picks", layer.picks},
                      {"entropy_bits", layer.entropy_bits},
                      {"gini", layer.gini},
                      {"imbalance", layer.imbalance}});
  }
  return {{"file", seen.file},
          {"model", seen.trace->model},
          {"requests", stats.requests},
          {"steps", stats.steps},
          {"tokens", {{"prefill", stats.prefill_tokens}, {"decode", stats.decode_tokens}}},
          {"experts",
           {{"layers", shape.layers.size()},
            {"per_layer", shape.experts},
            {"top_k", shape.top_k},
            {"bytes", shape.expert_bytes},
            {"count", stats.pool},
            {"used", stats.touched}}},
          {"uses", stats.uses},
          {"popularity", popularity},
          {"reuse",
           {{"first_uses", stats.first_uses},
            {"median", stats.reuse_median},
            {"histogram", histogram}}},
          {"working_set", sets},
          {"layers", layers}};
}

LineChart popularity_chart(const TraceStats& stats) {
  ChartLine line;
  for (size_t i = 0; i < stats.popularity.size(); ++i) {
    line.points.emplace_back(i, 100 * stats.popularity[i]);
  }
  return {"Popularity", popularity_text(stats), "most popular experts, %", "picks, %", {line}};
}

BarChart reuse_chart(const TraceStats& stats) {
  BarChart chart = {
      "Reuse distance", reuse_text(stats), "experts touched between two uses, from", "uses, %", {}};
  for (const ReuseBucket& bucket : stats.reuse) {
    chart.bars.emplace_back(fmt::format("{}", bucket.from), percent(bucket.uses, stats.uses));
  }
  return chart;
}

BarChart working_set_chart(const TraceStats& stats) {
  BarChart chart = {"Working set", working_set_text(stats), "tokens", "different experts", {}};
  for (const WorkingSet& set : stats.working_sets) {
    chart.bars.emplace_back(fmt::format("{}", set.tokens), set.mean);
  }
  return chart;
}

BarChart layers_chart(const Seen& seen) {
  BarChart chart = {"Skew by layer", skew_text(seen), "layer", "busiest expert ÷ mean", {}};
  for (const LayerSkew& layer : seen.stats.layers) {
    chart.bars.emplace_back(fmt::format("{}", layer.layer), layer.imbalance);
  }
  return chart;
}

HeatMap picks_map(const Seen& seen) {
  HeatMap map = {"Picks",
                 "How often each expert of each layer was chosen; the darker, the oftener.",
                 "expert",
                 "layer, from the first one that has a router",
                 {}};
  for (const auto& layer : seen.stats.picks) map.rows.emplace_back(layer.begin(), layer.end());
  return map;
}

std::string html_of(const Seen& seen) {
  HtmlPage page("Routing trace " + seen.file);
  if (!seen.trace->model.empty()) page.paragraph("Model: " + seen.trace->model);
  page.paragraph(counts_text(seen.stats) + "; " + experts_text(seen) + ".");
  page.chart(popularity_chart(seen.stats));
  page.chart(reuse_chart(seen.stats));
  page.chart(working_set_chart(seen.stats));
  page.chart(layers_chart(seen));
  page.chart(picks_map(seen));
  std::vector<std::vector<std::string>> rows = {
      {"layer", "picks", "entropy, bits", "Gini", "busiest ÷ mean"}};
  for (const LayerSkew& layer : seen.stats.layers) {
    rows.push_back({fmt::format("{}", layer.layer), fmt::format("{}", layer.picks),
                    fmt::format("{:.2f}", layer.entropy_bits), fmt::format("{:.3f}", layer.gini),
                    fmt::format("{:.2f}", layer.imbalance)});
  }
  page.table("Layers", rows);
  return page.text();
}

Result<int> trace(const TraceOptions& options, Console& console) {
  if (options.json) TRY_STATUS(check_json_target(*options.json));
  if (options.html) TRY_STATUS(check_html_target(*options.html));
  std::string warning;
  const RoutingTrace trace = TRY(read_trace(options.file, warning));
  if (!warning.empty()) console.err << "warning: " << warning << '\n';
  const Seen seen = {options.file, &trace, measure_trace(trace)};
  if (options.html) TRY_STATUS(write_file_atomically(*options.html, html_of(seen)));
  if (!options.json || *options.json != "-") console.out << text_of(seen);
  if (options.json) TRY_STATUS(write_json(*options.json, json_of(seen), console));
  return 0;
}

Command::Body prepare_trace(OptionList& list) {
  auto options = std::make_shared<TraceOptions>();
  list.positional("FILE", options->file, "a routing trace, recorded or in the CSV form");
  list.output("--html", "OUT", options->html, "the figures drawn, as one self-contained page");
  list.output("--json", "FILE", options->json, "the same as JSON; -: to standard output, alone");
  return {[options](Console& console) { return trace(*options, console); }};
}

}  // namespace

Command trace_command() {
  return {"trace", "what a routing trace says of a model's experts",
          "  switchyard trace routes.trace --html routes.html\n"
          "  switchyard trace routes.csv --json -\n",
          prepare_trace};
}

}  // namespace switchyard
