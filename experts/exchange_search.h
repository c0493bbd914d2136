#pragma once

// Simulated annealing that exchanges experts of one layer between parts, so that a token's experts
// lie in few of them. What group_experts and group_order share.

#include <cstdint>
#include <vector>

#include "experts/layer_routes.h"
#include "runtime/base/prng.h"

namespace switchyard {

struct ExchangeSettings {
  // Numbers of parts, each dividing the next, that count alike: part p of the last is part
  // p · cut / last of each. The last is what parts are numbered by.
  std::vector<uint32_t> cuts;
  double moves_per_expert = 0;
  // Of the tokens: how much worse a move may be, at first and at last.
  double heat_first = 0, heat_last = 0;
  // Tokens' worth of parts for a squared imbalance: of this layer's picks, and of these together
  // with what the parts do in other layers, [parts]; the latter counts where `others` is not empty.
  double balance = 0, balance_all = 0;
  std::vector<double> others = {};
};

// [experts] → part, beginning from `part_of`; how many experts a part has does not change.
std::vector<uint32_t> search_exchanges(const LayerRoutes& routes, std::vector<uint32_t> part_of,
                                       const ExchangeSettings& settings, Prng& prng);

}  // namespace switchyard
