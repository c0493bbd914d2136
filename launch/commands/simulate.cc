// simulate: a routing trace through the real cache, on a simulated clock and drive.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>

#include "experts/expert_source.h"
#include "experts/predictors/registry.h"
#include "experts/simulation.h"
#include "experts/trace_file.h"
#include "experts/trace_mapping.h"
#include "launch/commands/commands.h"
#include "launch/html_page.h"
#include "launch/json_output.h"
#include "launch/machine.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/parse.h"
#include "runtime/base/file.h"
#include "runtime/base/units.h"
#include "runtime/engine/model_source.h"

namespace switchyard {
namespace {

constexpr double kMemoryRateAssumed = 20e9;  // where this machine was not measured
constexpr double kDriveRateAssumed = 1e9;
constexpr double kLatencyDefault = 100e-6;
constexpr double kNoLimit = 1e18;  // bytes a second
constexpr double kChecksumRateAssumed = 8e9;
constexpr uint64_t kExpertBytesAssumed = 1 << 20;
constexpr std::string_view kCapacityDefault = "25%";
constexpr uint32_t kSweepPercents[] = {5, 10, 15, 20, 30, 40, 50, 60, 70, 80, 90, 100};

struct SimulateOptions {
  std::optional<uint64_t> expert_size;
  std::optional<std::string> trace, model, learn_routing, capacity, bandwidth, latency, compute,
      policy, predictor, html, json;
  bool sweep = false, no_prefetch = false;
};

// One value of an option that has a reader of its own; errors name the option.
template <class Parse>
auto parsed(const std::string& text, const char* option, const Parse& parse) {
  auto value = parse(text);
  if (!value) value.error().where = option;
  return value;
}

class Simulate {
 public:
  Simulate(const SimulateOptions& options, Console& console)
      : options_(options), console_(console) {}

  Result<int> execute() {
    TRY_STATUS(prepare());
    chosen_ = TRY(simulate(trace_, settings_));
    if (chosen_.tokens == 0) {
      return fail(Code::kBadData, "holds no generated token: there is nothing to count",
                  *options_.trace, "record a run that generates some");
    }
    oracle_ = TRY(simulate(trace_, with_oracle(settings_)));
    SimulationOptions unlimited = settings_;
    unlimited.bytes_per_second = kNoLimit;
    unlimited.latency_seconds = 0;
    unlimited_ = TRY(simulate(trace_, unlimited));
    (options_.json == "-" ? console_.err : console_.out) << table() << std::flush;
    if (options_.sweep || options_.html) TRY_STATUS(sweep());
    return options_.json ? give_json() : 0;
  }

 private:
  Status prepare() {
    if (!options_.trace) return fail(Code::kUsage, "give --trace FILE", {}, "see --help");
    if (options_.json) TRY_STATUS(check_json_target(*options_.json));
    if (options_.html) TRY_STATUS(check_html_target(*options_.html));
    if (options_.expert_size == 0) {
      return fail(Code::kUsage, "must be more than 0", "--expert-size");
    }
    std::string warning;
    trace_ = TRY(read_trace(*options_.trace, warning));
    if (!warning.empty()) console_.err << "warning: " << warning << std::endl;
    if (options_.model) TRY_STATUS(map_to_model());
    if (options_.learn_routing) TRY_STATUS(learn_routing());
    future_ = future_uses(trace_);
    settings_.policy = options_.policy.value_or(std::string(kPolicyDefault));
    if (settings_.policy == "oracle") settings_.future = &future_;
    settings_.prefetch = !options_.no_prefetch;
    choose_predictor();
    experts_ = trace_.shape.layers.size() * trace_.shape.experts;
    settings_.slots = TRY(slots());
    return choose_times();
  }

  // As if a model of this shape had been routed so.
  Status map_to_model() {
    const std::string path = TRY(resolve_model(*options_.model, HubEnvironment::of_process()));
    const auto source = TRY(ModelSource::open(path));
    const ModelSpec& spec = source->spec();
    auto mapped = map_trace(trace_, spec.router_layers(), spec.moe.experts);
    if (!mapped) mapped.error().where = *options_.trace;
    const TraceShape recorded = trace_.shape;
    trace_ = TRY(std::move(mapped));
    trace_.shape.expert_bytes = source->experts().expert_bytes();
    top_k_of_model_ = spec.moe.top_k;
    if (recorded.layers.size() == trace_.shape.layers.size() &&
        recorded.experts == trace_.shape.experts) {
      return {};
    }
    console_.err << fmt::format("routing mapped from {} layers of {} experts\n",
                                recorded.layers.size(), recorded.experts);
    return {};
  }

  // As run does with the same option.
  Status learn_routing() {
    std::string warning;
    RoutingTrace learned = TRY(read_trace(*options_.learn_routing, warning));
    if (!warning.empty()) console_.err << "warning: " << warning << std::endl;
    if (options_.model) {
      learned = TRY(map_trace(learned, trace_.shape.layers, trace_.shape.experts));
    }
    if (learned.shape.layers != trace_.shape.layers ||
        learned.shape.experts != trace_.shape.experts) {
      return fail(Code::kBadData, "is of another model than the trace", *options_.learn_routing);
    }
    forecast_.emplace(learned);
    settings_.forecast = &*forecast_;
    return {};
  }

  // As in run, if the trace holds what its routers said.
  void choose_predictor() {
    settings_.predictor = options_.predictor.value_or(std::string(kPredictorDefault));
    const bool answers = std::ranges::any_of(
        trace_.steps, [](const RoutingStep& step) { return !step.predictions.empty(); });
    if (options_.predictor || answers) return;
    settings_.predictor = "none";
    console_.err << "the trace holds no answers of routers: predictor none\n";
  }

  Result<uint32_t> slots() const {
    const std::string text = options_.capacity.value_or(std::string(kCapacityDefault));
    const uint64_t slots = TRY(parsed(text, "--capacity", [&](const std::string& value) {
      return value.ends_with('%') ? parse_size_or_share(value, experts_)
                                  : Result<uint64_t>(parse_integer(value, 1, INT32_MAX));
    }));
    if (slots >= trace_.shape.top_k) return static_cast<uint32_t>(std::min(slots, experts_));
    return fail(Code::kUsage,
                fmt::format("{} experts are fewer than the {} of one layer's route", slots,
                            trace_.shape.top_k),
                "--capacity");
  }

  Status choose_times() {
    const auto figures = load_machine_figures();
    const auto known = [&](double MachineFigures::*rate, double assumed) {
      return figures && (*figures).*rate > 0 ? (*figures).*rate : assumed;
    };
    if (!figures && !(options_.bandwidth && options_.compute)) {
      console_.err << "this machine was not measured (switchyard doctor): rates are assumed\n";
    }
    settings_.expert_bytes = options_.expert_size.value_or(
        trace_.shape.expert_bytes > 0 ? trace_.shape.expert_bytes : kExpertBytesAssumed);
    settings_.bytes_per_second = known(&MachineFigures::drive_bytes_per_second, kDriveRateAssumed);
    settings_.latency_seconds = kLatencyDefault;
    settings_.expert_seconds = static_cast<double>(settings_.expert_bytes) /
                               known(&MachineFigures::memory_bytes_per_second, kMemoryRateAssumed);
    if (options_.bandwidth) {
      settings_.bytes_per_second = TRY(parsed(*options_.bandwidth, "--bandwidth", parse_rate));
    }
    if (options_.latency) {
      settings_.latency_seconds = TRY(parsed(*options_.latency, "--latency", parse_time));
    }
    if (options_.compute) {
      settings_.expert_seconds = TRY(parsed(*options_.compute, "--compute", parse_time));
    }
    const double checksums = figures ? figures->kernels.checksum_bytes_per_second : 0;
    settings_.verify_seconds = static_cast<double>(settings_.expert_bytes) /
                               (checksums > 0 ? checksums : kChecksumRateAssumed);
    settings_.layer_seconds =
        settings_.expert_seconds * top_k_of_model_.value_or(trace_.shape.top_k) / 2;
    return {};
  }

  SimulationOptions with_oracle(SimulationOptions settings) const {
    settings.policy = "oracle";
    settings.predictor = "none";
    settings.future = &future_;
    return settings;
  }

  std::string heading() const {
    return fmt::format(
        "{}: {} tokens decoded, {} layers of {} experts, {} recorded for each token\n"
        "{} of {} experts in memory ({:.1f} %), {} each; drive {}, {} a read; {} to compute an "
        "expert\n\n",
        *options_.trace, chosen_.tokens, trace_.shape.layers.size(), trace_.shape.experts,
        trace_.shape.top_k, settings_.slots, experts_,
        100.0 * settings_.slots / static_cast<double>(experts_),
        format_size(settings_.expert_bytes), format_rate(settings_.bytes_per_second),
        format_seconds(settings_.latency_seconds), format_seconds(settings_.expert_seconds));
  }

  static std::string row(const std::string& name, const SimulationResult& result) {
    const auto tokens = static_cast<double>(result.tokens);
    return fmt::format("{:<28}{:>8.1f}{:>12}{:>14}{:>14}{:>12.2f}\n", name, 100 * result.hit_rate(),
                       result.prefetched,
                       format_size(static_cast<uint64_t>(result.bytes_read / tokens)),
                       format_seconds(result.stall_seconds / tokens), result.tokens_per_second());
  }

  std::string table() const {
    const std::string name = settings_.policy + ", " + settings_.predictor;
    return heading() +
           fmt::format("{:<28}{:>8}{:>12}{:>14}{:>14}{:>12}\n", "policy, predictor", "hits %",
                       "prefetched", "bytes/token", "stall/token", "tok/s") +
           row(name, chosen_) + row("oracle, none", oracle_) +
           row("infinite bandwidth", unlimited_);
  }

  // Hit rate over capacity: what was chosen, LRU and the optimum.
  Status sweep() {
    std::vector<std::string> policies = {settings_.policy, "lru", "oracle"};
    if (settings_.policy == "lru" || settings_.policy == "oracle") policies.erase(policies.begin());
    for (const std::string& policy : policies) {
      ChartLine line{policy, {}};
      for (const uint32_t percent : kSweepPercents) {
        SimulationOptions settings = with_oracle(settings_);
        settings.policy = policy;
        settings.slots =
            std::max(trace_.shape.top_k, static_cast<uint32_t>(experts_ * percent / 100));
        line.points.emplace_back(percent, 100 * TRY(simulate(trace_, settings)).hit_rate());
      }
      sweep_.push_back(std::move(line));
    }
    (options_.json == "-" ? console_.err : console_.out) << sweep_table() << std::flush;
    return options_.html ? write_file_atomically(*options_.html, page()) : Status{};
  }

  std::string sweep_table() const {
    std::string table = "\nhits in % over the share of experts in memory\n     %";
    for (const ChartLine& line : sweep_) table += fmt::format("{:>16}", line.name);
    for (size_t i = 0; i < std::size(kSweepPercents); ++i) {
      table += fmt::format("\n{:>6}", kSweepPercents[i]);
      for (const ChartLine& line : sweep_) table += fmt::format("{:>16.1f}", line.points[i].second);
    }
    return table + "\n";
  }

  std::string page() const {
    HtmlPage page("Hit rate over capacity");
    page.paragraph(heading());
    page.chart(LineChart{.title = "Hit rate over capacity",
                         .description =
                             "How often an expert is in memory when it is wanted, by the "
                             "share of all experts that fit.",
                         .x_label = "experts in memory, %",
                         .y_label = "hits, %",
                         .lines = sweep_});
    return page.text();
  }

  Result<int> give_json() const {
    const auto figures = [](const SimulationResult& result) {
      return Json{{"hit_rate", result.hit_rate()},
                  {"hits", result.hits},
                  {"prefetched", result.prefetched},
                  {"late", result.late},
                  {"misses", result.misses},
                  {"bytes_read", result.bytes_read},
                  {"useful_bytes", result.useful_bytes},
                  {"wasted_bytes", result.wasted_bytes},
                  {"steps_rested", result.steps_rested},
                  {"seconds", result.seconds},
                  {"stall_seconds", result.stall_seconds},
                  {"tokens", result.tokens},
                  {"tokens_per_second", result.tokens_per_second()}};
    };
    Json json = figures(chosen_);
    json.update({{"oracle_hit_rate", oracle_.hit_rate()},
                 {"oracle", figures(oracle_)},
                 {"infinite_bandwidth", figures(unlimited_)},
                 {"policy", settings_.policy},
                 {"predictor", settings_.predictor},
                 {"capacity", settings_.slots},
                 {"experts", experts_},
                 {"bandwidth_bytes_per_second", settings_.bytes_per_second}});
    for (const ChartLine& line : sweep_) json["sweep"][line.name] = line.points;
    TRY_STATUS(write_json(*options_.json, json, console_));
    return 0;
  }

  const SimulateOptions& options_;
  Console& console_;
  RoutingTrace trace_;
  std::optional<TokenForecast> forecast_;
  FutureUses future_;
  std::optional<uint32_t> top_k_of_model_;  // that the trace was mapped to
  uint64_t experts_ = 0;                    // of all layers
  SimulationOptions settings_;
  SimulationResult chosen_, oracle_, unlimited_;
  std::vector<ChartLine> sweep_;
};

Command::Body prepare_simulate(OptionList& list) {
  auto options = std::make_shared<SimulateOptions>();
  list.text("--trace", "FILE", options->trace, "a routing trace, or its CSV form");
  list.text("--model", "MODEL", options->model,
            "maps the trace to the layers and experts of this model, as bench --replay-routing "
            "does, and takes the size of its experts");
  list.text("--learn-routing", "FILE", options->learn_routing,
            "another trace of the model: what its tokens needed tells the policy what is to come");
  list.text("--capacity", "N|P%", options->capacity,
            "experts in one pool over all layers; default: 25%");
  list.text("--bandwidth", "RATE", options->bandwidth,
            "of the drive, 950MB/s; default: what doctor measured");
  list.text("--latency", "TIME", options->latency, "of each read; default: 100us");
  list.size("--expert-size", options->expert_size,
            "of one expert; default: the trace's or model's own");
  list.text("--compute", "TIME", options->compute,
            "of one expert for one token; default: its bytes at this memory's rate");
  list.text("--policy", "NAME", options->policy,
            fmt::format("{}; default: {}", policy_names(true), kPolicyDefault));
  list.text("--predictor", "NAME", options->predictor,
            fmt::format("{}; default: {} if the trace holds routers' answers", predictor_names(),
                        kPredictorDefault));
  list.flag("--no-prefetch", options->no_prefetch,
            "predictions choose what stays, and start no reads");
  list.flag("--sweep", options->sweep, "hit rates over capacities too");
  list.output("--html", "FILE", options->html, "draws the sweep's curves");
  list.output("--json", "FILE", options->json, "the same as JSON; -: to standard output, alone");
  return {[options](Console& console) { return Simulate(*options, console).execute(); }};
}

}  // namespace

Command simulate_command() {
  return {"simulate", "replays a routing trace against policies and predictors",
          "  switchyard simulate --trace run.route --capacity 10%\n"
          "  switchyard simulate --trace run.route --capacity 256 --bandwidth 2GB/s --policy lru "
          "--predictor none --html curves.html\n",
          prepare_simulate};
}

}  // namespace switchyard
