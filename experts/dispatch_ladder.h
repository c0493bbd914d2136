#pragma once

// How many copies of a token each step of the way to grouped, replicated experts and guessed owners
// saves on a recorded trace.

#include <cstdint>
#include <string>
#include <vector>

#include "experts/expert_order.h"
#include "experts/owner_tables.h"
#include "experts/placement.h"
#include "experts/routing_trace.h"

namespace switchyard {

// Means over tokens and layers of the copies that go out (as many come back).
struct LadderRung {
  std::string name;
  double copies = 0;
  double random_owner = 0, best_owner = 0;  // with the same placement
  // The busiest rank's picks ÷ the mean's: mean over the layers, and of all layers together.
  double busiest_of_layer = 1, busiest_of_all = 1;
};

// What is learned of a trace for one number of ranks.
struct LadderWorld {
  Placement plain, grouped, replicated;
  OwnerTables tables, replica_tables;  // for grouped, for replicated
};

LadderWorld learn_world(const RoutingTrace& trace, const ExpertOrder& order, uint32_t ranks,
                        double memory_share);

// all-gather, all-to-all, de-duplicated (plain order, random owners), grouped, token table,
// previous ranks, replicas; last, beside them, replicas with one home for each sequence. Those by
// tokens only where the trace has them.
std::vector<LadderRung> measure_ladder(const RoutingTrace& trace, const LadderWorld& world);

// The steps of a trace's first tokens, this share of them, and of the rest.
struct SplitTrace {
  RoutingTrace first, rest;
};
SplitTrace split_trace(const RoutingTrace& trace, double share);

}  // namespace switchyard
