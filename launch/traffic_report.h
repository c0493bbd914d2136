#pragma once

// What ranks sent each other, for people, as JSON and as a page.

#include <string>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/engine/engine.h"

namespace switchyard {

// Of all ranks together, or of one layer.
struct TrafficSums {
  uint64_t tokens = 0;  // rows of a layer
  uint64_t copies_out = 0, copies_to_nodes = 0, copies_back = 0;
  uint64_t picks = 0, picks_here = 0;
  uint64_t steps = 0, gathers = 0;  // exchanges of a layer; those that sent all rows to all
  std::vector<double> computed;     // [ranks] experts of tokens, slices as parts of one
  std::vector<std::vector<uint64_t>> bytes;  // [source][destination]

  double copies_per_token() const;
  double copies_to_nodes_per_token() const;
  double copies_back_per_token() const;
  double local_rate() const;   // experts computed where their token's row is
  double imbalance() const;    // the busiest rank's work ÷ the mean's
  uint64_t all_bytes() const;  // sent
};

TrafficSums traffic_sums(const std::vector<RankReport>& ranks);
// [the model's layers], as far as there was any.
std::vector<TrafficSums> traffic_by_layer(const std::vector<RankReport>& ranks);

// "A", "B", "C", or "A+C" where steps or layers took turns.
std::string layout_used(Layout layout, const TrafficSums& sums);

// Both for more than one rank.
Json traffic_json(Layout layout, const std::vector<RankReport>& ranks);
std::string traffic_summary(Layout layout, const std::vector<RankReport>& ranks);
// How an adaptive placement changed. The summary is empty if it did not.
Json placement_json(const std::vector<PlacementChange>& changes);
std::string placement_summary(const std::vector<PlacementChange>& changes);
// One self-contained HTML page.
std::string traffic_page(Layout layout, const std::vector<RankReport>& ranks);

}  // namespace switchyard
