#include "runtime/engine/team.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <utility>

#include "comm/collectives.h"
#include "comm/message_sum.h"
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
  struct Summed {
    uint64_t value, sum;
  };
  const auto bytes_of = [](const uint64_t& value) { return std::as_bytes(std::span(&value, 1)); };
  const Awaited awaited = {"its beginning"};
  const Summed summed = {mine, hash_bytes(bytes_of(mine))};
  std::vector<Summed> theirs(world.size());
  TRY_STATUS(all_gather(world, std::as_bytes(std::span(&summed, 1)),
                        std::as_writable_bytes(std::span(theirs)), awaited));
  std::vector<uint64_t> all;
  for (uint32_t rank = 0; rank < world.size(); ++rank) {
    all.push_back(theirs[rank].value);
    TRY_STATUS(check_sum(bytes_of(all.back()), theirs[rank].sum, rank, awaited));
  }
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

Result<uint32_t> agree_on_union(World& world, uint32_t mine) {
  uint64_t bits = 0;
  for (const uint64_t of_rank : TRY(all_of(world, mine))) bits |= of_rank;
  return static_cast<uint32_t>(bits);
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
