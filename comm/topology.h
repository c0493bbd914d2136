#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace switchyard {

// Which ranks share a node, within which messages cost little.
struct Topology {
  std::vector<uint32_t> node_of;  // [ranks], ascending from 0 by first rank

  // All ranks on one node, or each on its own: nothing to be gained by passing rows on.
  bool flat() const;
  uint32_t nodes() const;
  bool together(uint32_t a, uint32_t b) const { return node_of[a] == node_of[b]; }
  // Which rank of `node` takes the rows that `from`, of another node, sends there.
  uint32_t gateway(uint32_t from, uint32_t node) const;
};

Topology one_node(uint32_t ranks);
// "2x4": two nodes of four ranks, in order. kUsage unless that makes `ranks`.
Result<Topology> parse_topology(std::string_view text, uint32_t ranks);
// Ranks of equal names share a node.
Topology nodes_of_names(const std::vector<std::string>& names);

}  // namespace switchyard
