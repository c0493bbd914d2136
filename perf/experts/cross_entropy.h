#pragma once

// The search for groups of experts that Speculative MoE (arXiv 2503.04398) describes, to compare
// ours with.

#include <cstdint>
#include <vector>

#include "experts/layer_routes.h"

namespace switchyard {

struct CrossEntropySettings {
  uint32_t rounds = 100, samples = 200;
  double elite = 0.1;      // share of the samples that the next round learns from
  double smoothing = 0.7;  // how far it does
  double balance = 0.5;    // parts a token that a squared imbalance is worth
};

// [experts] → part, of parts of equal size: every round draws placements from chances of an expert
// to be on a part and moves the chances towards the best of them.
std::vector<uint32_t> cross_entropy_groups(const LayerRoutes& routes, uint32_t parts, uint64_t seed,
                                           const CrossEntropySettings& settings = {});

}  // namespace switchyard
