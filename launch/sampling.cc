#include "launch/sampling.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "launch/options.h"

namespace switchyard {
namespace {

constexpr const char* kFromFile = "generation_config.json";

// The flag's value, else the file's, else `otherwise`; appended to `line` with its origin.
template <class T>
T pick(const char* name, const std::optional<T>& flag, const std::optional<T>& file, T otherwise,
       std::string& line) {
  const T value = flag ? *flag : file.value_or(otherwise);
  const std::string origin = flag ? fmt::format("--{}", name) : file ? kFromFile : "default";
  line += fmt::format("{} {} ({}), ", name, value, origin);
  return value;
}

// Without do_sample a checkpoint's temperature does not count: the reference implementation then
// takes the likeliest token.
float pick_temperature(const SamplingFlags& flags, const GenerationDefaults& defaults,
                       std::string& line) {
  std::optional<float> file = defaults.temperature;
  if (defaults.present && !defaults.do_sample.value_or(false)) file = 0;
  if (defaults.do_sample.value_or(false) && !file) file = 1;
  return pick("temp", flags.temperature, file, 0.0F, line);
}

}  // namespace

void SamplingFlags::add_to(OptionList& list) {
  list.number("--temp", temperature, 0, 100, "temperature; 0 takes the likeliest token");
  list.count("--top-k", top_k, 0, UINT32_MAX, "only the K likeliest tokens; 0: all");
  list.number("--top-p", top_p, 0, 1, "only the likeliest tokens that make up P together; 1: all");
  list.number("--min-p", min_p, 0, 1, "only tokens of at least P times the best's probability");
  list.number("--repeat-penalty", repeat_penalty, 1e-3, 1e3,
              "makes tokens that occurred less likely; 1: does not");
  list.seed("-s,--seed", seed, "of the random numbers; default 0");
}

SamplingChoice choose_sampling(const SamplingFlags& flags, const GenerationDefaults& defaults,
                               const std::vector<TokenId>& config_end_ids) {
  SamplingChoice choice;
  choice.line = "sampling: ";
  SamplerOptions& options = choice.options;
  options.temperature = pick_temperature(flags, defaults, choice.line);
  options.top_k = pick("top-k", flags.top_k, defaults.top_k, 0U, choice.line);
  options.top_p = pick("top-p", flags.top_p, defaults.top_p, 1.0F, choice.line);
  options.min_p = pick("min-p", flags.min_p, defaults.min_p, 0.0F, choice.line);
  options.repeat_penalty =
      pick("repeat-penalty", flags.repeat_penalty, defaults.repetition_penalty, 1.0F, choice.line);
  options.seed = pick("seed", flags.seed, std::optional<uint64_t>(), uint64_t{0}, choice.line);
  for (const auto* ids : {&defaults.end_ids, &config_end_ids}) {
    for (const TokenId id : *ids) {
      if (std::ranges::find(choice.end_ids, id) == choice.end_ids.end()) {
        choice.end_ids.push_back(id);
      }
    }
  }
  const bool none = choice.end_ids.empty();
  choice.line +=
      fmt::format("end ids {}", none ? "none" : fmt::format("{}", fmt::join(choice.end_ids, ", ")));
  return choice;
}

}  // namespace switchyard
