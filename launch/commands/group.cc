// group: from a routing trace an order of experts in which neighbours are chosen together.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "experts/grouping.h"
#include "experts/trace_file.h"
#include "launch/commands/commands.h"
#include "launch/json_output.h"
#include "launch/options.h"
#include "runtime/base/file.h"

namespace switchyard {
namespace {

constexpr uint32_t kWorldMax = 1024;

struct GroupOptions {
  std::optional<std::string> trace, out, json;
  std::optional<uint32_t> world;
  std::optional<uint64_t> seed;
};

// What an order costs on a world: mean over the layers.
struct WorldCost {
  uint32_t ranks = 0;
  double ranks_per_token = 0;   // that have one of its experts
  double busiest_of_layer = 0;  // rank's picks ÷ the mean's
  double busiest_of_all = 0;    // the same of the picks of all layers
  // Copies of a token that go out when its row lies on any rank, and on one that it needs.
  double copies() const { return ranks_per_token * (1 - 1.0 / ranks); }
  double copies_least() const { return ranks_per_token - 1; }
};

WorldCost cost_of(const std::vector<LayerRoutes>& layers, const ExpertOrder& order,
                  uint32_t world) {
  WorldCost cost{.ranks = world};
  std::vector<double> loads(world);
  double all = 0;
  for (size_t at = 0; at < layers.size(); ++at) {
    const std::vector<uint32_t> rank_of = ranks_of(order[at], world);
    const auto share = 1.0 / static_cast<double>(layers.size());
    cost.ranks_per_token += share * parts_per_token(layers[at], rank_of);
    cost.busiest_of_layer += share * imbalance(layers[at], rank_of, world);
    for (const uint16_t expert : layers[at].picks) loads[rank_of[expert]] += 1;
    all += static_cast<double>(layers[at].picks.size());
  }
  cost.busiest_of_all = all > 0 ? std::ranges::max(loads) * world / all : 1;
  return cost;
}

std::vector<uint32_t> worlds_up_to(uint32_t world) {
  std::vector<uint32_t> worlds;
  for (uint32_t ranks = 2; ranks < world; ranks *= 2) worlds.push_back(ranks);
  worlds.push_back(world);
  return worlds;
}

std::string cost_line(const WorldCost& cost, const char* order) {
  return fmt::format("{:>6}  {:<8}{:>14.3f}{:>14.3f}{:>14.3f}{:>12.2f}{:>12.2f}\n", cost.ranks,
                     order, cost.ranks_per_token, cost.copies(), cost.copies_least(),
                     cost.busiest_of_layer, cost.busiest_of_all);
}

Json cost_json(const WorldCost& cost) {
  return {{"ranks_per_token", cost.ranks_per_token},
          {"copies_random_owner", cost.copies()},
          {"copies_best_owner", cost.copies_least()},
          {"imbalance_of_a_layer", cost.busiest_of_layer},
          {"imbalance_of_all_layers", cost.busiest_of_all}};
}

Status check(const GroupOptions& options) {
  if (!options.trace || !options.out) {
    return fail(Code::kUsage, "give --trace FILE and --out OUT", {}, "see --help");
  }
  TRY_STATUS(check_json_target(*options.out));
  return options.json ? check_json_target(*options.json) : Status{};
}

Result<int> group(const GroupOptions& options, Console& console) {
  TRY_STATUS(check(options));
  std::string warning;
  const RoutingTrace trace = TRY(read_trace(*options.trace, warning));
  if (!warning.empty()) console.err << "warning: " << warning << std::endl;
  if (trace.steps.empty()) {
    return fail(Code::kBadData, "the routing trace is empty", *options.trace,
                "record one with run");
  }
  const uint32_t world = options.world.value_or(8);
  std::vector<LayerRoutes> layers;
  for (size_t at = 0; at < trace.shape.layers.size(); ++at) layers.push_back(routes_of(trace, at));
  const ExpertOrder order = group_order(layers, world, options.seed.value_or(1));
  TRY_STATUS(write_file_atomically(*options.out, encode_order(order) + "\n"));

  std::string text = fmt::format("{:>6}  {:<8}{:>14}{:>14}{:>14}{:>12}{:>12}\n", "ranks", "order",
                                 "ranks a token", "copies", "best owner", "of a layer", "of all");
  Json report = {{"path", *options.out}, {"worlds", Json::array()}};
  const ExpertOrder plain = plain_order(layers.size(), trace.shape.experts);
  for (const uint32_t ranks : worlds_up_to(world)) {
    const WorldCost before = cost_of(layers, plain, ranks), after = cost_of(layers, order, ranks);
    text += cost_line(before, "plain") + cost_line(after, "grouped");
    report["worlds"].push_back(
        {{"ranks", ranks}, {"plain", cost_json(before)}, {"grouped", cost_json(after)}});
  }
  (options.json == "-" ? console.err : console.out)
      << text << fmt::format("wrote {}; use it with --order {}\n", *options.out, *options.out);
  if (options.json) TRY_STATUS(write_json(*options.json, report, console));
  return 0;
}

Command::Body prepare_group(OptionList& list) {
  auto options = std::make_shared<GroupOptions>();
  list.text("--trace", "FILE", options->trace, "a routing trace, or its CSV form");
  list.text("--out", "OUT", options->out, "the order to write");
  list.count("--world", options->world, 2, kWorldMax, "ranks that share the experts; default: 8");
  list.seed("-s,--seed", options->seed, "of the search; default: 1");
  list.text("--json", "FILE", options->json, "the figures as JSON; -: to standard output, alone");
  return {[options](Console& console) { return group(*options, console); }};
}

}  // namespace

Command group_command() {
  return {"group",
          "orders experts so that those chosen together are neighbours; prints how many ranks a "
          "token's experts lie on and copies of it go to, and the busiest rank's share of the work",
          "  switchyard group --trace run.route --world 8 --out model.order\n"
          "  switchyard run MODEL -p Hello --order model.order\n"
          "  switchyard pack MODEL model.pack --order model.order\n",
          prepare_group};
}

}  // namespace switchyard
