#include "comm/topology.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

std::vector<uint32_t> ranks_on(const Topology& topology, uint32_t node) {
  std::vector<uint32_t> ranks;
  for (uint32_t rank = 0; rank < topology.node_of.size(); ++rank) {
    if (topology.node_of[rank] == node) ranks.push_back(rank);
  }
  return ranks;
}

bool take_number(std::string_view& text, uint32_t& number) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return error == std::errc{} && number > 0;
}

}  // namespace

uint32_t Topology::nodes() const {
  return node_of.empty() ? 0 : *std::max_element(node_of.begin(), node_of.end()) + 1;
}

bool Topology::flat() const { return nodes() <= 1 || nodes() == node_of.size(); }

uint32_t Topology::gateway(uint32_t from, uint32_t node) const {
  const std::vector<uint32_t> there = ranks_on(*this, node), here = ranks_on(*this, node_of[from]);
  CHECK(!there.empty());
  const auto index = std::find(here.begin(), here.end(), from) - here.begin();
  return there[static_cast<size_t>(index) % there.size()];
}

Topology one_node(uint32_t ranks) { return {std::vector<uint32_t>(ranks, 0)}; }

Result<Topology> parse_topology(std::string_view text, uint32_t ranks) {
  std::string_view rest = text;
  uint32_t nodes = 0, each = 0;
  const bool read = take_number(rest, nodes) && rest.starts_with('x') &&
                    (rest.remove_prefix(1), take_number(rest, each)) && rest.empty();
  if (!read || uint64_t{nodes} * each != ranks) {
    return fail(Code::kUsage, fmt::format("'{}' is not NODESxRANKS of {} ranks", text, ranks),
                "--topology", "such as 2x4 for two nodes of four ranks");
  }
  Topology topology;
  for (uint32_t rank = 0; rank < ranks; ++rank) topology.node_of.push_back(rank / each);
  return topology;
}

Topology nodes_of_names(const std::vector<std::string>& names) {
  std::map<std::string, uint32_t> nodes;
  Topology topology;
  for (const std::string& name : names) {
    topology.node_of.push_back(
        nodes.try_emplace(name, static_cast<uint32_t>(nodes.size())).first->second);
  }
  return topology;
}

}  // namespace switchyard
