#include "runtime/engine/team.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "runtime/base/byte_fields.h"
#include "runtime/base/hash.h"

namespace switchyard {
namespace {

constexpr std::array kLayouts = {std::pair{Layout::kAuto, std::string_view("auto")},
                                 std::pair{Layout::kA, std::string_view("A")},
                                 std::pair{Layout::kB, std::string_view("B")},
                                 std::pair{Layout::kC, std::string_view("C")}};

// One number of every rank.
Result<std::vector<uint64_t>> all_of(World& world, uint64_t mine) {
  std::vector<uint64_t> all(world.size(), mine);
  std::vector<World::Ticket> tickets;
  for (uint32_t peer = 0; peer < world.size(); ++peer) {
    if (peer == world.rank()) continue;
    tickets.push_back(
        world.receive(peer, Channel::kControl, std::as_writable_bytes(std::span(&all[peer], 1))));
    tickets.push_back(world.send(peer, Channel::kControl, std::as_bytes(std::span(&mine, 1))));
  }
  for (const World::Ticket ticket : tickets) TRY_STATUS(world.wait(ticket, {"its beginning"}));
  return all;
}

}  // namespace

std::string_view layout_name(Layout layout) {
  for (const auto& [value, name] : kLayouts) {
    if (value == layout) return name;
  }
  return "?";
}

std::optional<Layout> parse_layout(std::string_view name) {
  for (const auto& [value, known] : kLayouts) {
    if (known == name) return value;
  }
  return std::nullopt;
}

Status agree(World& world, const std::vector<TeamFact>& facts) {
  for (const TeamFact& fact : facts) {
    const std::vector<uint64_t> all = TRY(all_of(world, hash_text(fact.value)));
    const auto other = std::ranges::find_if(all, [&](uint64_t one) { return one != all.front(); });
    if (other == all.end()) continue;
    return fail(Code::kConfig,
                fmt::format("has another {} than rank 0; here: {}", fact.name, fact.value),
                fmt::format("rank {}", other - all.begin()), "start all ranks alike");
  }
  return {};
}

Result<uint32_t> agree_on_least(World& world, uint32_t mine) {
  const std::vector<uint64_t> all = TRY(all_of(world, mine));
  return static_cast<uint32_t>(std::ranges::min(all));
}

Result<Topology> find_topology(World& world) {
  std::array<char, 256> name{};
  ::gethostname(name.data(), name.size() - 1);
  std::vector<std::string> names;
  for (const uint64_t hash : TRY(all_of(world, hash_text(name.data())))) {
    names.push_back(hash_hex(hash));
  }
  return nodes_of_names(names);
}

}  // namespace switchyard
