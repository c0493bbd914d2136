#include "runtime/engine/rope_spec.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "runtime/base/exact_math.h"

namespace switchyard {
namespace {

constexpr double kPi = std::numbers::pi;
constexpr uint32_t kPositionsMax = std::numeric_limits<int32_t>::max();
constexpr NumberRange kThetaRange{1, 1e15};
constexpr NumberRange kFactorRange{0, 1e6};

// theta^(2i / head_dim), the exponent and the result rounded to fp32.
std::vector<float> wavelength_powers(double theta, uint32_t head_dim) {
  std::vector<float> powers(head_dim / 2);
  for (uint32_t i = 0; i < powers.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    powers[i] = static_cast<float>(exact_pow(static_cast<float>(theta), exponent));
  }
  return powers;
}

std::vector<float> plain_frequencies(double theta, uint32_t head_dim) {
  std::vector<float> frequencies = wavelength_powers(theta, head_dim);
  for (float& frequency : frequencies) frequency = 1.0f / frequency;
  return frequencies;
}

// The older "type" and today's "rope_type"; "default" without either.
Result<std::string> read_kind(ConfigReader& rope) {
  const auto kind = TRY(rope.text("rope_type"));
  const auto older = TRY(rope.text("type"));
  if (kind && older && *kind != *older) return rope.bad("type", "but rope_type says otherwise");
  return kind ? *kind : older.value_or("default");
}

// The training length: in the rope object, or beside it; max_position_embeddings without either.
Result<double> read_original_positions(ConfigReader& config, ConfigReader& rope,
                                       const RopeContext& context) {
  constexpr std::string_view kKey = "original_max_position_embeddings";
  const auto inner = TRY(rope.count(kKey, {1, kPositionsMax}));
  const auto outer = TRY(config.count(kKey, {1, kPositionsMax}));
  if (inner && outer && *inner != *outer)
    return config.bad(kKey, "but the rope parameters say otherwise");
  return inner ? *inner : outer.value_or(context.positions_max);
}

Result<RopeSpec> read_linear(ConfigReader& rope, double theta, const RopeContext& context) {
  const auto factor = TRY(rope.number("factor", kFactorRange));
  if (!factor) return rope.missing("factor");
  RopeSpec spec{plain_frequencies(theta, context.head_dim), 1, "linear"};
  for (float& frequency : spec.inverse_frequency) frequency /= static_cast<float>(*factor);
  return spec;
}

Result<RopeSpec> read_llama3(ConfigReader& config, ConfigReader& rope, double theta,
                             const RopeContext& context) {
  const auto factor = TRY(rope.number("factor", kFactorRange));
  const auto low_factor = TRY(rope.number("low_freq_factor", kFactorRange));
  const auto high_factor = TRY(rope.number("high_freq_factor", kFactorRange));
  if (!factor) return rope.missing("factor");
  if (!low_factor) return rope.missing("low_freq_factor");
  if (!high_factor) return rope.missing("high_freq_factor");
  if (*high_factor <= *low_factor)
    return rope.bad("high_freq_factor", "expected more than low_freq_factor");
  const double original = TRY(read_original_positions(config, rope, context));

  const auto scale = static_cast<float>(*factor);
  const auto long_wave = static_cast<float>(original / *low_factor);
  const auto short_wave = static_cast<float>(original / *high_factor);
  RopeSpec spec{plain_frequencies(theta, context.head_dim), 1, "llama3"};
  for (float& frequency : spec.inverse_frequency) {
    // The reference divides a number by a tensor as number × reciprocal, rounding twice.
    const float wave = (1.0f / frequency) * static_cast<float>(2 * kPi);
    if (wave > long_wave) {
      frequency /= scale;
    } else if (!(wave < short_wave)) {
      const float smooth =
          ((1.0f / wave) * static_cast<float>(original) - static_cast<float>(*low_factor)) /
          static_cast<float>(*high_factor - *low_factor);
      frequency = (1.0f - smooth) * frequency / scale + smooth * frequency;
    }
  }
  return spec;
}

struct YarnParameters {
  double factor = 1;
  double original_positions = 1;
  double beta_fast = 32;
  double beta_slow = 1;
  bool truncate = true;
};

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * exact_log(factor) + 1;
}

// The (fractional) index of the pair that turns `rotations` times in the training length.
double yarn_correction(double rotations, double theta, const YarnParameters& yarn,
                       uint32_t head_dim) {
  return head_dim * exact_log(yarn.original_positions / (rotations * 2 * kPi)) /
         (2 * exact_log(theta));
}

std::vector<float> yarn_frequencies(double theta, const YarnParameters& yarn, uint32_t head_dim) {
  double low = yarn_correction(yarn.beta_fast, theta, yarn, head_dim);
  double high = yarn_correction(yarn.beta_slow, theta, yarn, head_dim);
  if (yarn.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, head_dim - 1.0);
  if (low == high) high += 0.001;

  std::vector<float> frequencies = wavelength_powers(theta, head_dim);
  for (uint32_t i = 0; i < frequencies.size(); ++i) {
    const float power = frequencies[i];
    const float kept = 1.0f / power;
    const float stretched = 1.0f / (static_cast<float>(yarn.factor) * power);
    const float ramp = std::clamp(
        (static_cast<float>(i) - static_cast<float>(low)) / static_cast<float>(high - low), 0.0f,
        1.0f);
    const float share = 1.0f - ramp;
    frequencies[i] = stretched * (1.0f - share) + kept * share;
  }
  return frequencies;
}

Result<RopeSpec> read_yarn(ConfigReader& config, ConfigReader& rope, double theta,
                           const RopeContext& context) {
  constexpr NumberRange kMscaleRange{0, 100, true};  // 0 counts as absent
  constexpr NumberRange kBetaRange{0, 1e6, true};    // likewise
  YarnParameters yarn;
  yarn.original_positions = TRY(read_original_positions(config, rope, context));
  // An explicit factor rules, even where the two lengths imply another.
  yarn.factor =
      TRY(rope.number_or("factor", kFactorRange, context.positions_max / yarn.original_positions));
  const double beta_fast = TRY(rope.number_or("beta_fast", kBetaRange, 0));
  const double beta_slow = TRY(rope.number_or("beta_slow", kBetaRange, 0));
  if (beta_fast > 0) yarn.beta_fast = beta_fast;
  if (beta_slow > 0) yarn.beta_slow = beta_slow;
  yarn.truncate = TRY(rope.flag_or("truncate", true));

  const double mscale = TRY(rope.number_or("mscale", kMscaleRange, 0));
  const double mscale_all = TRY(rope.number_or("mscale_all_dim", kMscaleRange, 0));
  const double implied = mscale > 0 && mscale_all > 0 ? yarn_mscale(yarn.factor, mscale) /
                                                            yarn_mscale(yarn.factor, mscale_all)
                                                      : yarn_mscale(yarn.factor, 1);
  const double attention = TRY(rope.number_or("attention_factor", {0, 1e4}, implied));
  return RopeSpec{yarn_frequencies(theta, yarn, context.head_dim), static_cast<float>(attention),
                  "yarn"};
}

Status refuse_partial_rotation(ConfigReader& reader) {
  constexpr std::string_view kKey = "partial_rotary_factor";
  if (TRY(reader.number_or(kKey, {0, 1}, 1)) != 1)
    return reader.refuse(kKey, "only whole heads are rotated here");
  return {};
}

// One object out of the two spellings. Both may be given as long as they do not disagree.
Result<Json> merged_parameters(ConfigReader& config) {
  Json merged = Json::object();
  for (const std::string_view name : {"rope_parameters", "rope_scaling"}) {
    const Json* given = config.find(name);
    if (!given) continue;
    if (!given->is_object()) return config.bad(name, "expected an object");
    for (const auto& [key, value] : given->items()) {
      if (value.is_object())
        return config.refuse(name, "rotations that differ by layer are not computed here");
      if (value.is_null()) continue;
      if (merged.contains(key) && merged[key] != value)
        return config.bad(name, "but rope_parameters say otherwise");
      merged[key] = value;
    }
  }
  return merged;
}

Result<double> read_theta(ConfigReader& config, ConfigReader& rope, const RopeContext& context) {
  const auto inner = TRY(rope.number("rope_theta", kThetaRange));
  const auto outer = TRY(config.number("rope_theta", kThetaRange));
  if (inner && outer && *inner != *outer)
    return config.bad("rope_theta", "but rope_parameters.rope_theta says otherwise");
  return inner ? *inner : outer.value_or(context.theta);
}

Result<RopeSpec> read_frequencies(ConfigReader& config, ConfigReader& rope,
                                  const RopeContext& context) {
  const std::string kind = TRY(read_kind(rope));
  const double theta = TRY(read_theta(config, rope, context));
  if (kind == "default") return RopeSpec{plain_frequencies(theta, context.head_dim), 1, "default"};
  if (kind == "linear") return read_linear(rope, theta, context);
  if (kind == "yarn") return read_yarn(config, rope, theta, context);
  if (kind == "llama3") return read_llama3(config, rope, theta, context);
  return fail(Code::kConfig,
              "RoPE kind \"" + abbreviated(kind) + "\" is not computed here" +
                  (kind == "dynamic" ? ": its result depends on how a prompt is cut" : ""),
              config.where(), "default, linear, yarn and llama3 are");
}

}  // namespace

Result<RopeSpec> read_rope(ConfigReader& config, const RopeContext& context,
                           std::vector<std::string>& warnings) {
  const Json parameters = TRY(merged_parameters(config));
  ConfigReader rope(parameters, config.where(),
                    config.has("rope_parameters") ? "rope_parameters." : "rope_scaling.");
  RopeSpec spec = TRY(read_frequencies(config, rope, context));
  TRY_STATUS(refuse_partial_rotation(config));
  TRY_STATUS(refuse_partial_rotation(rope));
  for (const float frequency : spec.inverse_frequency)
    if (!std::isfinite(frequency))
      return fail(Code::kBadData, "the rope parameters give frequencies that are not finite",
                  config.where());
  for (std::string& line : rope.unknown_key_warnings()) warnings.push_back(std::move(line));
  return spec;
}

}  // namespace switchyard
