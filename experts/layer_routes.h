#pragma once

// The routes of one layer: what groupings, replicas and owner tables are learned from.

#include <cstdint>
#include <span>
#include <vector>

#include "experts/routing_trace.h"

namespace switchyard {

// The experts of token t, all distinct, are picks[begins[t], begins[t + 1]).
struct LayerRoutes {
  uint32_t experts = 0;
  std::vector<uint32_t> begins = {0};
  std::vector<uint16_t> picks = {};

  size_t tokens() const { return begins.size() - 1; }
  std::span<const uint16_t> of(size_t token) const {
    return std::span(picks).subspan(begins[token], begins[token + 1] - begins[token]);
  }
  void end_token() { begins.push_back(static_cast<uint32_t>(picks.size())); }
};

// What `trace` recorded of its `at`-th layer; tokens that were not recorded there are left out.
LayerRoutes routes_of(const RoutingTrace& trace, size_t at);
// Of every layer.
std::vector<LayerRoutes> routes_of(const RoutingTrace& trace);
// At most so many of the tokens, evenly spread.
LayerRoutes thin_out(const LayerRoutes& routes, size_t tokens_max);

// [layers][experts] how often each was chosen.
std::vector<std::vector<double>> picks_of(const std::vector<LayerRoutes>& layers);

}  // namespace switchyard
