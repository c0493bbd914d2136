#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "experts/predictors/registry.h"
#include "runtime/base/prng.h"

namespace switchyard {

// [layers][experts] where each expert of a layer leads to in the next.
using Leads = std::vector<std::vector<uint16_t>>;

inline Leads random_leads(const PredictorShape& shape, Prng& prng) {
  Leads leads(shape.layers, std::vector<uint16_t>(shape.experts));
  for (auto& layer : leads) {
    for (uint16_t i = 0; i < shape.experts; ++i) layer[i] = i;
    for (size_t i = layer.size(); i > 1; --i) std::swap(layer[i - 1], layer[prng.below(i)]);
  }
  return leads;
}

// [top_k] distinct experts with gate weights that descend.
inline std::vector<RoutedExpert> random_route(const PredictorShape& shape, Prng& prng) {
  std::vector<RoutedExpert> route;
  while (route.size() < shape.top_k) {
    const auto expert = static_cast<uint16_t>(prng.below(shape.experts));
    if (std::ranges::find(route, expert, &RoutedExpert::expert) != route.end()) continue;
    route.push_back({expert, 1.0F / static_cast<float>(route.size() + 2)});
  }
  return route;
}

// A token's routes at all layers, the first of them random and the others where that leads.
inline std::vector<std::vector<RoutedExpert>> led_routes(const PredictorShape& shape,
                                                         const Leads& leads, Prng& prng) {
  std::vector<std::vector<RoutedExpert>> routes(shape.layers, random_route(shape, prng));
  for (uint32_t layer = 1; layer < shape.layers; ++layer) {
    for (uint32_t i = 0; i < shape.top_k; ++i) {
      routes[layer][i].expert = leads[layer - 1][routes[layer - 1][i].expert];
    }
  }
  return routes;
}

inline std::vector<std::vector<RoutedExpert>> random_routes(const PredictorShape& shape,
                                                            Prng& prng) {
  std::vector<std::vector<RoutedExpert>> routes;
  for (uint32_t layer = 0; layer < shape.layers; ++layer) {
    routes.push_back(random_route(shape, prng));
  }
  return routes;
}

inline std::vector<uint16_t> predicted(const Predictor& predictor, uint32_t layer, uint32_t token,
                                       size_t most) {
  std::vector<uint16_t> out(most);
  out.resize(predictor.predict(layer, token, out));
  return out;
}

inline bool same_experts(std::vector<uint16_t> experts, const std::vector<RoutedExpert>& route) {
  std::vector<uint16_t> truth;
  for (const RoutedExpert& routed : route) truth.push_back(routed.expert);
  std::ranges::sort(experts);
  std::ranges::sort(truth);
  return experts == truth;
}

// Takes a predictor through a step of one token.
inline void learn(Predictor& predictor, TokenId token, uint32_t request,
                  const std::vector<std::vector<RoutedExpert>>& routes) {
  predictor.begin_step({&token, 1}, {&request, 1});
  for (uint32_t layer = 0; layer < routes.size(); ++layer) {
    predictor.observe(layer, routes[layer]);
  }
}

// The same, where every route must be guessed `ahead` layers before, as a set.
inline void expect_foreseen(Predictor& predictor, uint32_t request,
                            const std::vector<std::vector<RoutedExpert>>& routes, uint32_t ahead) {
  const TokenId token = -1;
  predictor.begin_step({&token, 1}, {&request, 1});
  for (uint32_t layer = 0; layer < routes.size(); ++layer) {
    predictor.observe(layer, routes[layer]);
    if (layer + ahead >= routes.size()) continue;
    EXPECT_TRUE(same_experts(predicted(predictor, layer + ahead, 0, routes[layer].size()),
                             routes[layer + ahead]))
        << ahead << " ahead of layer " << layer;
  }
}

}  // namespace switchyard
