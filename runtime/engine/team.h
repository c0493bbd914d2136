#pragma once

// How the ranks of a world share a model.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/expert_exchange.h"
#include "comm/topology.h"
#include "comm/world.h"
#include "experts/placement.h"
#include "experts/placement_advisor.h"
#include "runtime/base/result.h"
#include "runtime/engine/owners.h"

namespace switchyard {

// A: a sequence's attention on one rank; experts on all. B: heads of attention on all ranks as
// well. C: as A, and all rows go to all ranks. Auto: B from the beginning if that is expected to be
// quicker; else A, or C in layers and steps where that is.
enum class Layout : uint8_t { kAuto, kA, kB, kC };
std::string_view layout_name(Layout layout);  // "auto", "A", …
std::optional<Layout> parse_layout(std::string_view name);

// What must be the same on every rank.
struct TeamFact {
  std::string name;
  std::string value;
};

struct TeamOptions {
  World* world = nullptr;  // null: alone
  uint32_t threads = 1;    // ranks that whoever makes the engine starts as threads
  Layout layout = Layout::kAuto;
  Placement placement = {};  // on the world's ranks, at first
  // How it may change between requests; nothing: it stays.
  std::optional<ReplicaRules> adapt = std::nullopt;
  OwnerOptions owners = {};
  std::optional<Topology> topology = std::nullopt;  // nothing: as the ranks' hosts are named
  std::optional<bool> halves = std::nullopt;  // rows in two passes; nothing: where that is quicker
  std::vector<TeamFact> facts = {};           // of the caller's
  std::string warning = {};                   // of what it was made of, one line; may be empty

  bool alone() const { return world == nullptr || world->size() == 1; }
  uint32_t ranks() const { return alone() ? 1 : world->size(); }
  uint32_t rank() const { return alone() ? 0 : world->rank(); }
  bool splits_heads() const { return !alone() && layout == Layout::kB; }
};

// kConfig naming the rank and the fact that is another there than on rank 0.
Status agree(World& world, const std::vector<TeamFact>& facts);

// The least that any rank says.
Result<uint32_t> agree_on_least(World& world, uint32_t mine);
// The bits that any rank says.
Result<uint32_t> agree_on_union(World& world, uint32_t mine);
// Ranks of hosts with one name share a node.
Result<Topology> find_topology(World& world);

}  // namespace switchyard
