// group: from a routing trace an order of experts in which neighbours are chosen together.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "experts/dispatch_ladder.h"
#include "experts/grouping.h"
#include "experts/trace_file.h"
#include "launch/commands/commands.h"
#include "launch/json_output.h"
#include "launch/ladder_report.h"
#include "launch/options.h"
#include "runtime/base/file.h"

namespace switchyard {
namespace {

constexpr uint32_t kWorldMax = 1024;
constexpr uint32_t kPlacedMax = 64;     // ranks that a placement can have
constexpr double kShareLearned = 0.75;  // of a trace that is measured itself
constexpr float kReplicasPercent = 10;

struct GroupOptions {
  std::optional<std::string> trace, out, json;
  std::vector<std::string> measured;
  std::optional<uint32_t> world;
  std::optional<float> replicas;  // percent
  std::optional<uint64_t> seed;
};

// A trace that the steps to fewer copies are measured on.
struct Measured {
  std::string name;
  RoutingTrace trace;
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

Result<RoutingTrace> read(const std::string& path, Console& console) {
  std::string warning;
  RoutingTrace trace = TRY(read_trace(path, warning));
  if (!warning.empty()) console.err << "warning: " << warning << std::endl;
  if (!trace.steps.empty()) return trace;
  return fail(Code::kBadData, "the routing trace is empty", path, "record one with run");
}

// What is learned from and what is measured: without other traces the last part of the one there
// is, of which then only the first is learned from.
struct Parts {
  RoutingTrace learned;
  std::vector<Measured> measured;
};

Result<Parts> divide(const GroupOptions& options, const RoutingTrace& trace, Console& console) {
  if (options.measured.empty()) {
    SplitTrace split = split_trace(trace, kShareLearned);
    return Parts{std::move(split.first),
                 {{fmt::format("the last quarter of {} after learning on the rest", *options.trace),
                   std::move(split.rest)}}};
  }
  Parts parts{trace, {{*options.trace + ", which it was learned from", trace}}};
  for (const std::string& path : options.measured) {
    RoutingTrace other = TRY(read(path, console));
    if (other.shape.layers != trace.shape.layers || other.shape.experts != trace.shape.experts) {
      return fail(Code::kBadData, "the trace is of a model of another shape", path,
                  "measure traces of the model that --trace was recorded with");
    }
    parts.measured.push_back({path, std::move(other)});
  }
  return parts;
}

struct Ladders {
  std::string text;
  Json worlds;  // [worlds] lists of what was measured
};

Ladders climb(const GroupOptions& options, const Parts& parts, const ExpertOrder& order) {
  const double replicas = options.replicas.value_or(kReplicasPercent) / 100.0;
  Ladders ladders{{}, Json::array()};
  for (const uint32_t ranks : worlds_up_to(options.world.value_or(8))) {
    Json list = Json::array();
    if (ranks <= kPlacedMax) {
      const LadderWorld world = learn_world(parts.learned, order, ranks, replicas);
      for (const Measured& measured : parts.measured) {
        const std::vector<LadderRung> rungs = measure_ladder(measured.trace, world);
        ladders.text += ladder_text(fmt::format("{} ranks, {}", ranks, measured.name), rungs);
        list.push_back({{"measured", measured.name}, {"steps", ladder_json(rungs)}});
      }
    }
    ladders.worlds.push_back(list);
  }
  return ladders;
}

Result<int> group(const GroupOptions& options, Console& console) {
  TRY_STATUS(check(options));
  const RoutingTrace trace = TRY(read(*options.trace, console));
  const Parts parts = TRY(divide(options, trace, console));
  const uint32_t world = options.world.value_or(8);
  const std::vector<LayerRoutes> layers = routes_of(trace);
  const uint64_t seed = options.seed.value_or(1);
  const ExpertOrder order = group_order(layers, world, seed);
  TRY_STATUS(write_file_atomically(*options.out, encode_order(order) + "\n"));

  const ExpertOrder measured =
      options.measured.empty() ? group_order(routes_of(parts.learned), world, seed) : order;
  const Ladders ladders = climb(options, parts, measured);
  std::string text = fmt::format("{:>6}  {:<8}{:>14}{:>14}{:>14}{:>12}{:>12}\n", "ranks", "order",
                                 "ranks a token", "copies", "best owner", "of a layer", "of all");
  Json report = {{"path", *options.out}, {"worlds", Json::array()}};
  const ExpertOrder plain = plain_order(layers.size(), trace.shape.experts);
  for (const uint32_t ranks : worlds_up_to(world)) {
    const WorldCost before = cost_of(layers, plain, ranks), after = cost_of(layers, order, ranks);
    text += cost_line(before, "plain") + cost_line(after, "grouped");
    report["worlds"].push_back({{"ranks", ranks},
                                {"plain", cost_json(before)},
                                {"grouped", cost_json(after)},
                                {"ladders", ladders.worlds[report["worlds"].size()]}});
  }
  (options.json == "-" ? console.err : console.out)
      << text << ladders.text
      << fmt::format("\nwrote {}; use it with --order {}\n", *options.out, *options.out);
  if (options.json) TRY_STATUS(write_json(*options.json, report, console));
  return 0;
}

Command::Body prepare_group(OptionList& list) {
  auto options = std::make_shared<GroupOptions>();
  list.text("--trace", "FILE", options->trace, "a routing trace, or its CSV form");
  list.output("--out", "OUT", options->out, "the order to write");
  list.count("--world", options->world, 2, kWorldMax, "ranks that share the experts; default: 8");
  list.texts("--measure", "FILE", options->measured,
             "a trace of other text to measure on; may be given more than once; default: the last "
             "quarter of the trace, after learning on the rest");
  list.number("--replicas", options->replicas, 0, 100,
              "percent more memory for copies of hot experts, in the figures; default: 10");
  list.seed("-s,--seed", options->seed, "of the search; default: 1");
  list.output("--json", "FILE", options->json, "the figures as JSON; -: to standard output, alone");
  return {[options](Console& console) { return group(*options, console); }};
}

}  // namespace

Command group_command() {
  return {
      "group",
      "orders experts so that those chosen together are neighbours; prints how many ranks a "
      "token's experts lie on and copies of it go to, the busiest rank's share of the work, and "
      "what guessed owners of tokens and replicas of experts would save",
      "  switchyard group --trace run.route --world 8 --out model.order\n"
      "  switchyard group --trace run.route --out model.order --measure other.route\n"
      "  switchyard run MODEL -p Hello --order model.order\n"
      "  switchyard pack MODEL model.pack --order model.order\n",
      prepare_group};
}

}  // namespace switchyard
