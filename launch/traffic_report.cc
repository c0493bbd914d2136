#include "launch/traffic_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <numeric>

#include "launch/html_page.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr double kUneven = 1.25;         // times the mean's work
constexpr uint64_t kTokensTold = 10000;  // rows of layers, before that is told

double ratio(uint64_t part, uint64_t whole) {
  return whole > 0 ? static_cast<double>(part) / static_cast<double>(whole) : 0;
}

TrafficSums empty_sums(size_t ranks) {
  TrafficSums sums;
  sums.computed.resize(ranks);
  sums.bytes.assign(ranks, std::vector<uint64_t>(ranks));
  return sums;
}

void add_bytes(const std::vector<uint64_t>& bytes_to, std::vector<uint64_t>& row) {
  for (size_t to = 0; to < bytes_to.size(); ++to) row[to] += bytes_to[to];
}

void add(const LayerTraffic& layer, uint64_t slices, size_t rank, TrafficSums& sums) {
  sums.tokens += layer.tokens;
  sums.copies_out += layer.copies_out;
  sums.copies_to_nodes += layer.copies_to_nodes;
  sums.copies_back += layer.copies_back;
  sums.picks += layer.picks;
  sums.picks_here += layer.picks_here;
  sums.computed[rank] += ratio(layer.computed, slices);
  if (rank == 0) {
    sums.steps += layer.steps;
    sums.gathers += layer.gathers;
  }
  add_bytes(layer.bytes_to, sums.bytes[rank]);
}

struct Link {
  size_t from = 0, to = 0;
  uint64_t bytes = 0;
};

Link busiest_link(const TrafficSums& sums) {
  Link busiest;
  for (size_t from = 0; from < sums.bytes.size(); ++from) {
    for (size_t to = 0; to < sums.bytes.size(); ++to) {
      if (sums.bytes[from][to] > busiest.bytes) busiest = {from, to, sums.bytes[from][to]};
    }
  }
  return busiest;
}

Json sums_json(Layout layout, const TrafficSums& sums) {
  return {{"layout", layout_used(layout, sums)},
          {"exchanges", sums.steps},
          {"gathered", sums.gathers},
          {"tokens", sums.tokens},
          {"copies_per_token", sums.copies_per_token()},
          {"copies_to_nodes_per_token", sums.copies_to_nodes_per_token()},
          {"copies_back_per_token", sums.copies_back_per_token()},
          {"local_activation_rate", sums.local_rate()},
          {"load_imbalance", sums.imbalance()},
          {"bytes", sums.bytes}};
}

HeatMap link_map(std::string title, const TrafficSums& sums) {
  HeatMap map{.title = std::move(title),
              .description = "Bytes that each rank (row) sent to each other (column).",
              .x_label = "to rank",
              .y_label = "from rank",
              .rows = {}};
  for (const auto& row : sums.bytes) map.rows.emplace_back(row.begin(), row.end());
  return map;
}

}  // namespace

double TrafficSums::copies_per_token() const { return ratio(copies_out, tokens); }
double TrafficSums::copies_to_nodes_per_token() const { return ratio(copies_to_nodes, tokens); }
double TrafficSums::copies_back_per_token() const { return ratio(copies_back, tokens); }
double TrafficSums::local_rate() const { return ratio(picks_here, picks); }

double TrafficSums::imbalance() const {
  const double all = std::accumulate(computed.begin(), computed.end(), 0.0);
  return all > 0 ? std::ranges::max(computed) * static_cast<double>(computed.size()) / all : 1;
}

uint64_t TrafficSums::all_bytes() const {
  uint64_t all = 0;
  for (const auto& row : bytes) all = std::accumulate(row.begin(), row.end(), all);
  return all;
}

std::vector<TrafficSums> traffic_by_layer(const std::vector<RankReport>& ranks) {
  std::vector<TrafficSums> layers;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const Traffic& traffic = ranks[rank].traffic;
    if (layers.size() < traffic.size()) layers.resize(traffic.size(), empty_sums(ranks.size()));
    for (size_t layer = 0; layer < traffic.size(); ++layer)
      add(traffic[layer], ranks[rank].slices, rank, layers[layer]);
  }
  return layers;
}

TrafficSums traffic_sums(const std::vector<RankReport>& ranks) {
  TrafficSums sums = empty_sums(ranks.size());
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    for (const LayerTraffic& layer : ranks[rank].traffic) {
      add(layer, ranks[rank].slices, rank, sums);
    }
    add_bytes(ranks[rank].attention_bytes_to, sums.bytes[rank]);
  }
  return sums;
}

std::string layout_used(Layout layout, const TrafficSums& sums) {
  if (layout == Layout::kB) return "B";
  if (sums.gathers == 0) return "A";
  return sums.gathers == sums.steps ? "C" : "A+C";
}

Json traffic_json(Layout layout, const std::vector<RankReport>& ranks) {
  const TrafficSums sums = traffic_sums(ranks);
  Json json = sums_json(layout, sums);
  const Link busiest = busiest_link(sums);
  json["busiest_link"] = {{"from", busiest.from}, {"to", busiest.to}, {"bytes", busiest.bytes}};
  json["layers"] = Json::array();
  for (const TrafficSums& layer : traffic_by_layer(ranks)) {
    json["layers"].push_back(layer.steps > 0 ? sums_json(layout, layer) : Json());
  }
  json["by_rank"] = Json::array();
  for (const RankReport& rank : ranks) {
    json["by_rank"].push_back({{"experts", rank.experts},
                               {"slices", rank.slices},
                               {"hits", rank.expert_hits},
                               {"misses", rank.expert_misses},
                               {"bytes_read", rank.expert_bytes_read},
                               {"peak_rss_bytes", rank.peak_rss_bytes}});
  }
  return json;
}

std::string traffic_summary(Layout layout, const std::vector<RankReport>& ranks) {
  const TrafficSums sums = traffic_sums(ranks);
  const Link busiest = busiest_link(sums);
  std::string text = fmt::format(
      "{} ranks, layout {}: {:.2f} copies of a token out and {:.2f} back a layer; {:.0f} % of "
      "experts where the token is; {} sent, most from rank {} to {} ({}); busiest rank {:.2f} x "
      "the mean\n",
      ranks.size(), layout_used(layout, sums), sums.copies_per_token(),
      sums.copies_back_per_token(), 100 * sums.local_rate(), format_size(sums.all_bytes()),
      busiest.from, busiest.to, format_size(busiest.bytes), sums.imbalance());
  if (sums.imbalance() > kUneven && sums.tokens > kTokensTold) {
    text +=
        "hint: ranks work unevenly; record such texts (--record-routing), then --placement "
        "replicated --learn-routing FILE, or another order from switchyard group\n";
  }
  return text;
}

Json placement_json(const std::vector<PlacementChange>& changes) {
  Json list = Json::array();
  uint64_t tokens = 0;
  for (const PlacementChange& change : changes) {
    tokens += change.tokens;
    list.push_back({{"after_tokens", tokens},
                    {"load_imbalance_before", change.busiest_before},
                    {"load_imbalance_after", change.busiest_after}});
  }
  return {{"changes", changes.size()}, {"history", std::move(list)}};
}

std::string placement_summary(const std::vector<PlacementChange>& changes) {
  if (changes.empty()) return {};
  uint64_t tokens = 0;
  for (const PlacementChange& change : changes) tokens += change.tokens;
  return fmt::format(
      "placement changed {}, last after {} tokens; busiest rank of a layer {:.2f} x the mean "
      "before that, {:.2f} x since\n",
      changes.size() == 1 ? "once" : fmt::format("{} times", changes.size()), tokens,
      changes.back().busiest_before, changes.back().busiest_after);
}

std::string traffic_page(Layout layout, const std::vector<RankReport>& ranks) {
  HtmlPage page("What ranks sent each other");
  page.paragraph(traffic_summary(layout, ranks));
  page.chart(link_map("All layers", traffic_sums(ranks)));
  std::vector<std::vector<std::string>> table = {
      {"layer", "layout", "copies out", "copies back", "local experts", "busiest rank", "sent"}};
  HeatMap work{.title = "Work by layer",
               .description = "Experts of tokens that each rank (column) computed in each layer.",
               .x_label = "rank",
               .y_label = "layer",
               .rows = {}};
  const std::vector<TrafficSums> layers = traffic_by_layer(ranks);
  for (size_t at = 0; at < layers.size(); ++at) {
    const TrafficSums& layer = layers[at];
    if (layer.steps == 0) continue;
    table.push_back({fmt::to_string(at), layout_used(layout, layer),
                     fmt::format("{:.2f}", layer.copies_per_token()),
                     fmt::format("{:.2f}", layer.copies_back_per_token()),
                     fmt::format("{:.0f} %", 100 * layer.local_rate()),
                     fmt::format("{:.2f} x the mean", layer.imbalance()),
                     format_size(layer.all_bytes())});
    work.rows.emplace_back(layer.computed.begin(), layer.computed.end());
  }
  page.table("By layer", table);
  if (!work.rows.empty()) page.chart(work);
  for (size_t at = 0; at < layers.size(); ++at) {
    if (layers[at].steps > 0) page.chart(link_map(fmt::format("Layer {}", at), layers[at]));
  }
  return page.text();
}

}  // namespace switchyard
