#include "launch/team_flags.h"

#include <fmt/format.h>

#include <algorithm>

#include "comm/world.h"
#include "experts/expert_source.h"
#include "experts/layer_routes.h"
#include "experts/replicas.h"
#include "experts/trace_file.h"
#include "experts/trace_mapping.h"
#include "launch/options.h"
#include "launch/parse.h"
#include "launch/version.h"
#include "runtime/base/hash.h"

namespace switchyard {
namespace {

constexpr double kReplicaShare = 0.1;  // more memory for experts that several ranks hold

// "random" or "random:SEED": the seed.
std::optional<uint64_t> random_seed(std::string_view text) {
  constexpr std::string_view kRandom = "random";
  if (text == kRandom) return 1;
  if (!text.starts_with("random:")) return std::nullopt;
  const auto seed = parse_seed(text.substr(kRandom.size() + 1));
  return seed ? std::optional(*seed) : std::nullopt;
}

// What --learn-routing recorded of this model; nothing where it is not given.
Result<std::optional<RoutingTrace>> routing_to_learn(const TeamFlags& flags,
                                                     const ModelSource& source,
                                                     std::string& warning) {
  if (!flags.learn_routing) return std::nullopt;
  RoutingTrace trace = TRY(read_trace(*flags.learn_routing, warning));
  const ModelSpec& spec = source.spec();
  if (trace.shape.layers == spec.router_layers() && trace.shape.experts == spec.moe.experts) {
    return trace;
  }
  if (flags.map_routing) return map_trace(trace, spec.router_layers(), spec.moe.experts);
  return fail(Code::kBadData,
              fmt::format("records {} layers of {} experts, the model has {} of {}",
                          trace.shape.layers.size(), trace.shape.experts, spec.sparse_layers(),
                          spec.moe.experts),
              *flags.learn_routing, "record one of this model: run --record-routing");
}

tl::unexpected<Error> fail_unlearned(const char* option) {
  return fail(Code::kUsage, "needs to know which experts are hot", option,
              "give --learn-routing FILE, as run --record-routing writes it");
}

Result<Placement> choose_placement(const std::string& name, const ModelSource& source,
                                   uint32_t ranks, const std::optional<RoutingTrace>& trace) {
  const ExpertOrder& order = source.expert_order();
  const uint32_t experts = source.spec().moe.experts;
  const uint32_t slices = source.experts().layout().slices_max();
  if (name == "grouped") return place_by_order(order, ranks, slices);
  if (name == "plain") return place_by_order(plain_order(order.size(), experts), ranks, slices);
  if (const auto seed = random_seed(name)) {
    return place_at_random(order.size(), experts, ranks, *seed, slices);
  }
  if (name == "replicated") {
    if (!trace) return fail_unlearned("--placement replicated");
    std::vector<LayerRoutes> layers;
    for (size_t at = 0; at < order.size(); ++at) layers.push_back(routes_of(*trace, at));
    return replicate(layers, place_by_order(order, ranks, slices), kReplicaShare);
  }
  if (name == "adaptive") {
    return choose_placement(trace ? "replicated" : "grouped", source, ranks, trace);
  }
  return fail(Code::kUsage, fmt::format("no placement is named '{}'", name), "--placement",
              "plain, grouped, replicated, adaptive or random[:SEED]");
}

// Changes with everything that was learned from.
std::string trace_fact(const RoutingTrace& trace) {
  Hasher hasher;
  for (const RoutingStep& step : trace.steps) {
    hasher.update(std::as_bytes(std::span(step.tokens)));
    for (const RoutedExpert& routed : step.routed) {
      hasher.update(std::as_bytes(std::span(&routed.expert, 1)));
    }
  }
  return hash_hex(hasher.digest());
}

void share_between_threads(EngineOptions& options, uint32_t threads) {
  options.memory_bytes /= threads;
  options.threads = std::max(1U, options.threads / threads);
}

}  // namespace

void TeamFlags::add_to(OptionList& list) {
  list.count("--ranks", ranks, 1, kRanksMax,
             "ranks that are threads of this process and share its memory and cores; under mpirun "
             "or srun each process is one");
  list.text("--layout", "auto|A|B|C", layout,
            "how ranks share the work: A: a sequence's attention on one, experts on all; B: heads "
            "of attention on all as well; C: as A, every row to every rank; auto: B if that is "
            "quicker here, else A or C by layer and step");
  list.text("--placement", "plain|grouped|replicated|adaptive|random[:SEED]", placement,
            "which ranks hold which experts: stretches by number; stretches of the expert order, "
            "the default; these and hot experts on further ranks; which ones changes between "
            "requests (of eval and bench) with what tokens pick; any");
  list.text("--owners", "none|predicted|random[:SEED]|adversarial", owners,
            "which rank takes a token (layout B), or a sequence, before routers have spoken; "
            "default: none: in turn");
  list.text(
      "--learn-routing", "FILE", learn_routing,
      "a routing trace of this model, to tell hot experts, owners and what tokens will need from");
  list.text("--topology", "NODESxRANKS", topology,
            "which ranks share a node, 2x4: two nodes of four ranks each, in order; default: those "
            "of one host");
}

Status choose_team(const TeamFlags& flags, const ModelSource& source, World* world,
                   EngineOptions& options) {
  TeamOptions& team = options.team;
  if (world != nullptr && flags.ranks) {
    return fail(Code::kUsage, "the ranks of this job are its processes", "--ranks",
                "leave it out, or start without mpirun and srun");
  }
  team.world = world;
  team.threads = flags.ranks.value_or(1);
  const uint32_t ranks = world != nullptr ? world->size() : team.threads;
  const auto layout = parse_layout(flags.layout.value_or("auto"));
  if (!layout) {
    return fail(Code::kUsage, fmt::format("no layout is named '{}'", *flags.layout), "--layout",
                "auto, A, B or C");
  }
  team.layout = *layout;
  if (flags.topology) team.topology = TRY(parse_topology(*flags.topology, ranks));
  team.owners = TRY(parse_owners(flags.owners.value_or("none")));
  const auto trace = TRY(routing_to_learn(flags, source, team.warning));
  if (trace) options.forecast = std::make_shared<TokenForecast>(*trace);
  const std::string placement = flags.placement.value_or("grouped");
  team.placement = TRY(choose_placement(placement, source, ranks, trace));
  if (placement == "adaptive") {
    team.adapt = {TRY(choose_placement("grouped", source, ranks, trace)), kReplicaShare};
  }
  if (trace && team.owners.kind == OwnerKind::kPredicted) {
    team.owners.tables = std::make_shared<OwnerTables>(OwnerTables::learn(*trace, team.placement));
  }
  team.facts = {{"build", build_name()}, {"routing to learn", trace ? trace_fact(*trace) : ""}};
  share_between_threads(options, team.threads);
  return {};
}

}  // namespace switchyard
