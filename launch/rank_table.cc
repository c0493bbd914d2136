#include "launch/rank_table.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <set>

#include "comm/collectives.h"
#include "launch/bootstrap.h"
#include "launch/json_output.h"
#include "launch/machine.h"
#include "launch/memory_limit.h"
#include "runtime/base/units.h"
#include "runtime/engine/round_rates.h"

namespace switchyard {
namespace {

RankPlace place_of_process() {
  RankPlace place{.host = host_name(), .processors = {}, .memory_bytes = 0};
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    for (uint32_t processor = 0; processor < CPU_SETSIZE; ++processor) {
      if (CPU_ISSET(processor, &set)) place.processors.push_back(processor);
    }
  }
  if (const auto allowance = memory_allowance("")) {
    place.memory_bytes = node_share(process_environment()).of_bytes(allowance->bytes);
  }
  return place;
}

Json to_json(const RankPlace& place) {
  return {
      {"host", place.host}, {"processors", place.processors}, {"memory_bytes", place.memory_bytes}};
}

Result<RankPlace> from_text(const std::string& text, size_t rank) {
  const Json json = TRY(parse_json(text, fmt::format("rank {}", rank)));
  RankPlace place;
  try {
    json.at("host").get_to(place.host);
    json.at("processors").get_to(place.processors);
    json.at("memory_bytes").get_to(place.memory_bytes);
  } catch (const Json::exception&) {
    return fail(Code::kInternal, "tells nothing of where it runs", fmt::format("rank {}", rank));
  }
  return place;
}

// Ranks of one host that share processors, directly or through others.
struct Group {
  std::set<size_t> ranks;
  std::set<uint32_t> processors;
};

bool overlap(const Group& group, const RankPlace& place) {
  return std::ranges::any_of(
      place.processors, [&](uint32_t processor) { return group.processors.contains(processor); });
}

std::vector<Group> groups_of(const std::vector<RankPlace>& ranks) {
  std::vector<Group> groups;
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    Group joined{.ranks = {rank},
                 .processors = {ranks[rank].processors.begin(), ranks[rank].processors.end()}};
    std::vector<Group> apart;
    for (Group& group : groups) {
      if (ranks[*group.ranks.begin()].host == ranks[rank].host && overlap(group, ranks[rank])) {
        joined.ranks.merge(group.ranks);
        joined.processors.merge(group.processors);
      } else {
        apart.push_back(std::move(group));
      }
    }
    apart.push_back(std::move(joined));
    groups = std::move(apart);
  }
  return groups;
}

Check crowded(const Group& group, const std::vector<RankPlace>& ranks) {
  const std::vector<uint32_t> processors(group.processors.begin(), group.processors.end());
  const std::string& host = ranks[*group.ranks.begin()].host;
  return {"ranks", CheckState::kLimited,
          fmt::format("{} share processor{} {} of {}: they wait for each other",
                      fmt::join(group.ranks, ", "), processors.size() == 1 ? "" : "s",
                      processor_list(processors), host),
          "give each its own: mpirun --bind-to none or --map-by numa, srun --cpu-bind=none; or "
          "start fewer ranks there"};
}

double bytes_per_second(const RoundRates& links) {
  return links.seconds_per_byte > 0 ? 1 / links.seconds_per_byte : 0;
}

}  // namespace

Status tell_place(World& world) {
  TRY(broadcast_text(world, 0, {}, {.what = "the question where ranks run", .patient = true}));
  TRY(gather_texts(world, 0, json_line(to_json(place_of_process())), {"where ranks run"}));
  TRY(measure_links(world));
  return {};
}

Result<RankTable> collect_places(World& world) {
  RankTable table;
  TRY(broadcast_text(world, 0, {}, {"the question where ranks run"}));
  const auto texts =
      TRY(gather_texts(world, 0, json_line(to_json(place_of_process())), {"where ranks run"}));
  for (const std::string& text : texts) {
    table.ranks.push_back(TRY(from_text(text, table.ranks.size())));
  }
  table.links = TRY(measure_links(world));
  return table;
}

std::string processor_list(const std::vector<uint32_t>& processors) {
  std::string list;
  for (size_t begin = 0, end = 0; begin < processors.size(); begin = end) {
    end = begin + 1;
    while (end < processors.size() && processors[end] == processors[end - 1] + 1) ++end;
    list += fmt::format("{}{}", list.empty() ? "" : ",", processors[begin]);
    if (end - begin > 1) list += fmt::format("-{}", processors[end - 1]);
  }
  return list;
}

std::string places_text(const std::vector<RankPlace>& ranks) {
  size_t host_width = 4, list_width = 10;
  for (const RankPlace& place : ranks) {
    host_width = std::max(host_width, place.host.size());
    list_width = std::max(list_width, processor_list(place.processors).size());
  }
  std::string text =
      fmt::format("rank  {:<{}}  {:<{}}  memory\n", "host", host_width, "processors", list_width);
  for (size_t rank = 0; rank < ranks.size(); ++rank) {
    const RankPlace& place = ranks[rank];
    text += fmt::format("{:<4}  {:<{}}  {:<{}}  {}\n", rank, place.host, host_width,
                        processor_list(place.processors), list_width,
                        place.memory_bytes > 0 ? format_size(place.memory_bytes) : "?");
  }
  return text;
}

std::vector<Check> check_ranks(const RankTable& table) {
  const double rate = bytes_per_second(table.links);
  std::string links = fmt::format("a round of messages between all {} ranks takes {}",
                                  table.ranks.size(), format_seconds(table.links.round_seconds));
  if (rate > 0) links += fmt::format(", a rank sends {}", format_rate(rate));
  std::vector<Check> checks = {{"links", CheckState::kOk, links, ""}};
  for (const Group& group : groups_of(table.ranks)) {
    const bool known = !group.processors.empty();
    if (known && group.ranks.size() > group.processors.size()) {
      checks.push_back(crowded(group, table.ranks));
    }
  }
  return checks;
}

Json places_json(const RankTable& table) {
  Json ranks = Json::array();
  for (const RankPlace& place : table.ranks) ranks.push_back(to_json(place));
  return {{"places", ranks},
          {"round_seconds", table.links.round_seconds},
          {"bytes_per_second", bytes_per_second(table.links)}};
}

}  // namespace switchyard
