// inspect: what a model is.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

#include "experts/expert_source.h"
#include "launch/commands/commands.h"
#include "launch/engine_flags.h"
#include "launch/json_output.h"
#include "launch/model_files.h"
#include "launch/model_parts.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "launch/report_text.h"
#include "runtime/base/units.h"
#include "runtime/engine/engine.h"
#include "runtime/engine/model_source.h"

namespace switchyard {
namespace {

constexpr uint32_t kContextDefault = 4096;

struct InspectOptions {
  std::string model;
  std::optional<uint64_t> memory;
  std::optional<uint32_t> context;
  std::optional<std::string> json;
};

// What a budget buys.
struct Fit {
  uint64_t budget_bytes = 0;
  uint64_t minimum_bytes = 0;
  uint32_t context = 0;
  std::optional<MemoryPlan> plan;  // nothing when the budget is too small
};

struct Facts {
  std::string path;
  std::string kind;
  const ModelSpec* spec = nullptr;
  ModelParts parts;
  uint64_t active_parameters = 0;  // that one token uses
  uint64_t kv_bytes_per_token = 0;
  uint64_t expert_bytes = 0;  // of one, in its slot
  uint32_t experts = 0;       // of all layers
  std::string dtype;          // of the experts
  std::vector<uint32_t> windows;
  Fit fit;
};

const char* qk_norm_name(QkNorm norm) {
  switch (norm) {
    case QkNorm::kNone:
      return "none";
    case QkNorm::kPerHead:
      return "per head";
    case QkNorm::kFullWidth:
      return "full width";
  }
  return "?";
}

uint64_t active_parameters(const ModelSpec& spec, const ModelParts& parts, uint32_t experts) {
  const uint64_t used = uint64_t{spec.sparse_layers()} * spec.moe.top_k;
  return parts.total().parameters - parts.experts.parameters +
         parts.experts.parameters / experts * used;
}

Result<Fit> fit_of(const ModelSource& source, const InspectOptions& options) {
  EngineFlags flags;
  flags.memory = options.memory;
  TRY_STATUS(check_context(options.context, source));
  const auto tokenizer = TRY(source.text_file("tokenizer.json"));
  const EngineOptions engine = TRY(engine_options(
      flags, source,
      options.context.value_or(std::min(kContextDefault, source.spec().positions_max)),
      tokenizer ? tokenizer_memory_bytes(tokenizer->size()) : 0));
  const uint64_t minimum_bytes = TRY(Engine::minimum_bytes(source, engine));
  Fit fit{engine.memory_bytes, minimum_bytes, engine.context, std::nullopt};
  if (fit.budget_bytes >= minimum_bytes) fit.plan = TRY(Engine::plan(source, engine));
  return fit;
}

Result<Facts> gather(const ModelSource& source, const InspectOptions& options) {
  Facts facts;
  const ModelSpec& spec = source.spec();
  const ExpertSource& experts = source.experts();
  facts.path = source.path();
  facts.kind = source.kind();
  facts.spec = &spec;
  facts.parts = TRY(measure_parts(source));
  facts.experts = static_cast<uint32_t>(experts.keys().size());
  facts.expert_bytes = experts.layout().slot_bytes();
  facts.dtype = dtype_name(experts.layout().dtype);
  facts.active_parameters = active_parameters(spec, facts.parts, facts.experts);
  facts.kv_bytes_per_token =
      uint64_t{2} * spec.attention.kv_width() * sizeof(float) * spec.layers.size();
  std::set<uint32_t> windows;
  for (const LayerSpec& layer : spec.layers) windows.insert(layer.window);
  facts.windows.assign(windows.begin(), windows.end());
  facts.fit = TRY(fit_of(source, options));
  return facts;
}

struct NamedPart {
  const char* name;
  const char* key;
  PartSize ModelParts::*part;
};
constexpr NamedPart kNamedParts[] = {
    {"embeddings", "embeddings", &ModelParts::embeddings},
    {"attention", "attention", &ModelParts::attention},
    {"norms", "norms", &ModelParts::norms},
    {"routers", "routers", &ModelParts::routers},
    {"dense MLPs", "dense_mlp", &ModelParts::dense_mlp},
    {"shared experts", "shared_experts", &ModelParts::shared_experts},
    {"experts", "experts", &ModelParts::experts},
};

std::string window_text(const Facts& facts) {
  const uint32_t widest = facts.windows.back();
  if (widest == 0) return "";
  return fmt::format(", window {}{}", widest, facts.windows.front() == 0 ? " in some layers" : "");
}

std::string fit_text(const Facts& facts) {
  const Fit& fit = facts.fit;
  std::string text = fact_line("least budget",
                               fmt::format("--memory {} at a context of {}",
                                           size_option_rounded_up(fit.minimum_bytes), fit.context));
  const std::string budget = format_size(fit.budget_bytes);
  if (!fit.plan) return text + fact_line("fits", fmt::format("not in {}", budget));
  const MemoryPlan& plan = *fit.plan;
  return text +
         fact_line("fits", fmt::format("in {}: {} of {} experts ({:.0f} %), {} prompt tokens at "
                                       "once; {} in use",
                                       budget, plan.slots, facts.experts,
                                       100.0 * plan.slots / facts.experts, plan.chunk,
                                       format_size(plan.total_bytes())));
}

std::string text_of(const Facts& facts) {
  const ModelSpec& spec = *facts.spec;
  const AttentionSpec& attention = spec.attention;
  std::string text = fact_line("model", facts.path);
  text += fact_line("family", fmt::format("{} ({})", spec.family, facts.kind));
  text += fact_line("layers",
                    fmt::format("{}, {} of them sparse; hidden {}, vocabulary {}, {} positions",
                                spec.layers.size(), spec.sparse_layers(), spec.hidden, spec.vocab,
                                spec.positions_max));
  text +=
      fact_line("attention",
                fmt::format("{} heads over {} KV heads of {}, QK norm {}, RoPE {}{}",
                            attention.heads, attention.kv_heads, attention.head_dim,
                            qk_norm_name(attention.qk_norm), spec.rope.kind, window_text(facts)));
  text +=
      fact_line("experts", fmt::format("{} a layer, {} wide, top-{}; shared: {}; {}",
                                       spec.moe.experts, spec.moe.intermediate, spec.moe.top_k,
                                       spec.moe.shared_intermediate == 0
                                           ? "none"
                                           : fmt::format("{} wide", spec.moe.shared_intermediate),
                                       facts.dtype));
  text +=
      fact_line("parameters", fmt::format("{:.4g} million, {:.4g} million used by a token",
                                          static_cast<double>(facts.parts.total().parameters) / 1e6,
                                          static_cast<double>(facts.active_parameters) / 1e6));
  for (const NamedPart& part : kNamedParts) {
    const uint64_t bytes = (facts.parts.*part.part).bytes;
    if (bytes > 0) text += fact_line(fmt::format("  {}", part.name), format_size(bytes));
  }
  text += fact_line("  in all", format_size(facts.parts.total().bytes));
  text += fact_line("one expert",
                    fmt::format("{}, {} of them", format_size(facts.expert_bytes), facts.experts));
  text += fact_line("KV cache", fmt::format("{} a token", format_size(facts.kv_bytes_per_token)));
  return text + fit_text(facts);
}

Json fit_json(const Fit& fit) {
  Json json = {{"budget_bytes", fit.budget_bytes},
               {"minimum_bytes", fit.minimum_bytes},
               {"context", fit.context},
               {"fits", fit.plan.has_value()}};
  if (fit.plan) {
    json["total_bytes"] = fit.plan->total_bytes();
    json["dense_bytes"] = fit.plan->dense_bytes;
    json["kv_bytes"] = fit.plan->kv_bytes;
    json["other_bytes"] = fit.plan->other_bytes;
    json["activation_bytes"] = fit.plan->activation_bytes;
    json["staging_bytes"] = fit.plan->staging_bytes;
    json["slots_bytes"] = fit.plan->slots_bytes;
    json["slots"] = fit.plan->slots;
    json["chunk"] = fit.plan->chunk;
  }
  return json;
}

Json json_of(const Facts& facts) {
  const ModelSpec& spec = *facts.spec;
  const AttentionSpec& attention = spec.attention;
  Json bytes;
  for (const NamedPart& part : kNamedParts) bytes[part.key] = (facts.parts.*part.part).bytes;
  bytes["total"] = facts.parts.total().bytes;
  return {
      {"path", facts.path},
      {"kind", facts.kind},
      {"family", spec.family},
      {"layers", spec.layers.size()},
      {"sparse_layers", spec.sparse_layers()},
      {"hidden", spec.hidden},
      {"vocab", spec.vocab},
      {"positions_max", spec.positions_max},
      {"attention",
       {{"heads", attention.heads},
        {"kv_heads", attention.kv_heads},
        {"head_dim", attention.head_dim},
        {"qk_norm", qk_norm_name(attention.qk_norm)},
        {"rope", spec.rope.kind},
        {"windows", facts.windows}}},
      {"experts",
       {{"per_layer", spec.moe.experts},
        {"count", facts.experts},
        {"top_k", spec.moe.top_k},
        {"intermediate", spec.moe.intermediate},
        {"shared_intermediate", spec.moe.shared_intermediate},
        {"slot_bytes", facts.expert_bytes},
        {"dtype", facts.dtype}}},
      {"parameters",
       {{"total", facts.parts.total().parameters}, {"active", facts.active_parameters}}},
      {"bytes", bytes},
      {"kv_bytes_per_token", facts.kv_bytes_per_token},
      {"fit", fit_json(facts.fit)},
      {"warnings", spec.warnings},
  };
}

Result<int> inspect(const InspectOptions& options, Console& console) {
  if (options.json) TRY_STATUS(check_json_target(*options.json));
  const std::string path = TRY(resolve_model(options.model, HubEnvironment::of_process()));
  const auto source = TRY(ModelSource::open(path));
  const Facts facts = TRY(gather(*source, options));
  for (const std::string& warning : source->spec().warnings) {
    print_warning(warning, console);
  }
  if (!options.json || *options.json != "-") console.out << text_of(facts);
  if (options.json) TRY_STATUS(write_json(*options.json, json_of(facts), console));
  return 0;
}

Command::Body prepare_inspect(OptionList& list) {
  auto options = std::make_shared<InspectOptions>();
  list.positional("MODEL", options->model, "a folder, ORG/NAME[@REV] in the HF cache, or a pack");
  list.size("--memory", options->memory,
            "the budget to fit it in; default: what the machine and its cgroup allow");
  list.count("--context", options->context, 1, INT32_MAX,
             "positions of the one sequence assumed; default: 4096 or what the model has");
  list.output("--json", "FILE", options->json, "the same as JSON; -: to standard output, alone");
  return {[options](Console& console) { return inspect(*options, console); }};
}

}  // namespace

Command inspect_command() {
  return {"inspect", "what a model is and what of it fits in memory",
          "  switchyard inspect MODEL --memory 8GiB\n"
          "  switchyard inspect ORG/NAME --json -\n",
          prepare_inspect};
}

}  // namespace switchyard
