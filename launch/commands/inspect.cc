// inspect: what a model is.

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>

#include "experts/expert_source.h"
#include "launch/commands/commands.h"
#include "launch/json_output.h"
#include "launch/model_parts.h"
#include "launch/model_path.h"
#include "launch/options.h"
#include "runtime/base/units.h"
#include "runtime/engine/model_source.h"

namespace switchyard {
namespace {

struct InspectOptions {
  std::string model;
  std::optional<std::string> json;
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

Result<Facts> gather(const ModelSource& source) {
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
  return facts;
}

struct NamedPart {
  const char* name;
  const char* key;
  PartSize ModelParts::*part;
};
constexpr NamedPart kParts[] = {
    {"embeddings", "embeddings", &ModelParts::embeddings},
    {"attention", "attention", &ModelParts::attention},
    {"norms", "norms", &ModelParts::norms},
    {"routers", "routers", &ModelParts::routers},
    {"dense MLPs", "dense_mlp", &ModelParts::dense_mlp},
    {"shared experts", "shared_experts", &ModelParts::shared_experts},
    {"experts", "experts", &ModelParts::experts},
};

std::string line(const char* name, const std::string& value) {
  return fmt::format("{:<16}{}\n", name, value);
}

std::string window_text(const Facts& facts) {
  const uint32_t widest = facts.windows.back();
  if (widest == 0) return "";
  return fmt::format(", window {}{}", widest, facts.windows.front() == 0 ? " in some layers" : "");
}

std::string text_of(const Facts& facts) {
  const ModelSpec& spec = *facts.spec;
  const AttentionSpec& attention = spec.attention;
  std::string text = line("model", facts.path);
  text += line("family", fmt::format("{} ({})", spec.family, facts.kind));
  text +=
      line("layers", fmt::format("{}, {} of them sparse; hidden {}, vocabulary {}, {} positions",
                                 spec.layers.size(), spec.sparse_layers(), spec.hidden, spec.vocab,
                                 spec.positions_max));
  text += line("attention",
               fmt::format("{} heads over {} KV heads of {}, QK norm {}, RoPE {}{}",
                           attention.heads, attention.kv_heads, attention.head_dim,
                           qk_norm_name(attention.qk_norm), spec.rope.kind, window_text(facts)));
  text += line("experts", fmt::format("{} a layer, {} wide, top-{}; shared: {}; {}",
                                      spec.moe.experts, spec.moe.intermediate, spec.moe.top_k,
                                      spec.moe.shared_intermediate == 0
                                          ? "none"
                                          : fmt::format("{} wide", spec.moe.shared_intermediate),
                                      facts.dtype));
  text += line("parameters", fmt::format("{:.4g} million, {:.4g} million used by a token",
                                         static_cast<double>(facts.parts.total().parameters) / 1e6,
                                         static_cast<double>(facts.active_parameters) / 1e6));
  for (const NamedPart& part : kParts) {
    const uint64_t bytes = (facts.parts.*part.part).bytes;
    if (bytes > 0) text += line(fmt::format("  {}", part.name).c_str(), format_size(bytes));
  }
  text += line("  in all", format_size(facts.parts.total().bytes));
  text += line("one expert",
               fmt::format("{}, {} of them", format_size(facts.expert_bytes), facts.experts));
  text += line("KV cache", fmt::format("{} a token", format_size(facts.kv_bytes_per_token)));
  return text;
}

Json json_of(const Facts& facts) {
  const ModelSpec& spec = *facts.spec;
  const AttentionSpec& attention = spec.attention;
  Json bytes;
  for (const NamedPart& part : kParts) bytes[part.key] = (facts.parts.*part.part).bytes;
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
      {"warnings", spec.warnings},
  };
}

Result<int> inspect(const InspectOptions& options, Console& console) {
  if (options.json) TRY_STATUS(check_json_target(*options.json));
  const std::string path = TRY(resolve_model(options.model, HubEnvironment::of_process()));
  const auto source = TRY(ModelSource::open(path));
  const Facts facts = TRY(gather(*source));
  for (const std::string& warning : source->spec().warnings) {
    console.err << "warning: " << warning << '\n';
  }
  if (!options.json || *options.json != "-") console.out << text_of(facts);
  if (options.json) TRY_STATUS(write_json(*options.json, json_of(facts), console));
  return 0;
}

Command::Body prepare_inspect(OptionList& list) {
  auto options = std::make_shared<InspectOptions>();
  list.positional("MODEL", options->model, "a folder, ORG/NAME[@REV] in the HF cache, or a pack");
  list.text("--json", "FILE", options->json, "the same as JSON; -: to standard output, alone");
  return [options](Console& console) { return inspect(*options, console); };
}

}  // namespace

Command inspect_command() {
  return {"inspect", "what a model is and what of it fits in memory",
          "  switchyard inspect MODEL --memory 8GiB\n"
          "  switchyard inspect ORG/NAME --json -\n",
          prepare_inspect};
}

}  // namespace switchyard
