#include "experts/layer_routes.h"

#include <algorithm>

namespace switchyard {

LayerRoutes routes_of(const RoutingTrace& trace, size_t at) {
  LayerRoutes routes{.experts = trace.shape.experts};
  for (const RoutingStep& step : trace.steps) {
    for (size_t token = 0; token < step.tokens.size(); ++token) {
      const auto routed = step.at(trace.shape, at, token);
      for (const RoutedExpert& expert : routed) routes.picks.push_back(expert.expert);
      if (!routed.empty()) routes.end_token();
    }
  }
  return routes;
}

std::vector<LayerRoutes> routes_of(const RoutingTrace& trace) {
  std::vector<LayerRoutes> layers;
  for (size_t at = 0; at < trace.shape.layers.size(); ++at) layers.push_back(routes_of(trace, at));
  return layers;
}

LayerRoutes thin_out(const LayerRoutes& routes, size_t tokens_max) {
  const size_t kept = std::min(routes.tokens(), tokens_max);
  LayerRoutes thin{.experts = routes.experts};
  for (size_t i = 0; i < kept; ++i) {
    const auto picks = routes.of(i * routes.tokens() / kept);
    thin.picks.insert(thin.picks.end(), picks.begin(), picks.end());
    thin.end_token();
  }
  return thin;
}

std::vector<std::vector<double>> picks_of(const std::vector<LayerRoutes>& layers) {
  std::vector<std::vector<double>> counts;
  for (const LayerRoutes& routes : layers) {
    std::vector<double>& count = counts.emplace_back(routes.experts);
    for (const uint16_t expert : routes.picks) count[expert] += 1;
  }
  return counts;
}

}  // namespace switchyard
