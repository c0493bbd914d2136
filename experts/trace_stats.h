#pragma once

#include <cstdint>
#include <vector>

#include "experts/routing_trace.h"

namespace switchyard {

// How unevenly a layer's picks fall on its experts.
struct LayerSkew {
  uint16_t layer = 0;
  uint64_t picks = 0;
  double entropy_bits = 0;  // log2(experts) when all are picked equally often
  double gini = 0;          // 0: equally often; towards 1: one expert gets everything
  double imbalance = 0;     // the most picked expert's picks ÷ the mean's
};

// Different experts that windows of so many tokens, one behind the other, touch.
struct WorkingSet {
  uint64_t tokens = 0;
  double mean = 0;
  uint64_t max = 0;
};

// Uses whose reuse distance lies in [from, to).
struct ReuseBucket {
  uint64_t from = 0, to = 0;
  uint64_t uses = 0;
};

// Of the experts of all layers as one pool, used token by token, layers ascending.
struct TraceStats {
  uint64_t requests = 0, steps = 0, prefill_tokens = 0, decode_tokens = 0;
  uint64_t pool = 0;                     // experts that there are
  uint64_t touched = 0;                  // experts that were used
  uint64_t uses = 0;                     // picks of all tokens
  std::vector<double> popularity;        // [0 … 100]: share of the picks that the first P % get
  uint64_t first_uses = 0;               // have no reuse distance
  uint64_t reuse_median = 0;             // different experts touched between two uses of one
  std::vector<ReuseBucket> reuse;        // powers of two, up to the pool
  std::vector<WorkingSet> working_sets;  // 1, 8, 32 and all tokens
  std::vector<LayerSkew> layers;
  std::vector<std::vector<uint64_t>> picks;  // [layers][experts]

  uint64_t tokens() const { return prefill_tokens + decode_tokens; }
};

TraceStats measure_trace(const RoutingTrace& trace);

}  // namespace switchyard
