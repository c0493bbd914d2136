#include "launch/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/base/check.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {
namespace {

Json to_json(const Spread& spread) {
  return {{"median", spread.median}, {"min", spread.min}, {"max", spread.max}};
}

double layer_weights(const ModelSpec& spec, const LayerSpec& layer) {
  const double hidden = spec.hidden;
  const double attention =
      hidden * (2.0 * spec.attention.q_width() + 2.0 * spec.attention.kv_width());
  if (!layer.sparse) return attention + 3 * hidden * spec.dense_intermediate;
  const MoeSpec& moe = spec.moe;
  double mlp = hidden * moe.experts + 3 * hidden * moe.top_k * moe.intermediate;
  if (moe.shared_intermediate > 0) mlp += 3 * hidden * moe.shared_intermediate + hidden;
  return attention + mlp;
}

}  // namespace

Spread spread_of(std::vector<double> values) {
  if (values.empty()) return {};
  std::sort(values.begin(), values.end());
  const size_t middle = values.size() / 2;
  const double median =
      values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
  return {median, values.front(), values.back()};
}

void BenchRow::add(double value, double bound) {
  values.push_back(value);
  bounds.push_back(bound);
}

std::vector<double> BenchRow::fractions() const {
  CHECK_THAT(bounds.size() == values.size(), "{} of {}", bounds.size(), values.size());
  std::vector<double> result;
  for (size_t i = 0; i < values.size(); ++i) {
    result.push_back(bounds[i] > 0 ? values[i] / bounds[i] : 0);
  }
  return result;
}

std::string bench_table(const std::vector<BenchRow>& rows) {
  constexpr const char* kLine = "{:<15}{:>9}  {:<20}{:<9}{:>9}  {:<16}{:>8}";
  const auto range = [](const Spread& spread, const char* format) {
    return fmt::format(fmt::runtime(format), spread.min, spread.max);
  };
  std::string table;
  const auto add_line = [&](std::string line) {
    line.resize(line.find_last_not_of(' ') + 1);
    table += line + '\n';
  };
  add_line(
      fmt::format(kLine, "", "median", "least … most", "", "of bound", "least … most", "bound"));
  for (const BenchRow& row : rows) {
    const Spread value = spread_of(row.values);
    std::string fraction, fractions, bound;
    if (!row.bound_key.empty()) {
      const Spread of_bound = spread_of(row.fractions());
      fraction = fmt::format("{:.3f}", of_bound.median);
      fractions = range(of_bound, "{:.3f} … {:.3f}");
      bound = fmt::format("{:.4g}", spread_of(row.bounds).median);
    }
    add_line(fmt::format(kLine, row.label, fmt::format("{:.4g}", value.median),
                         range(value, "{:.4g} … {:.4g}"), row.unit, fraction, fractions, bound));
  }
  return table;
}

Json bench_json(const std::vector<BenchRow>& rows) {
  Json report = Json::object();
  for (const BenchRow& row : rows) {
    Json& group = report[row.group];
    group[row.key] = to_json(spread_of(row.values));
    if (row.bound_key.empty()) continue;
    group[row.bound_key] = to_json(spread_of(row.bounds));
    group[row.key + "_of_bound"] = to_json(spread_of(row.fractions()));
  }
  return report;
}

double prompt_product_flops(const ModelSpec& spec, uint64_t tokens) {
  double weights = 0;
  for (const LayerSpec& layer : spec.layers) weights += layer_weights(spec, layer);
  const double output = static_cast<double>(spec.hidden) * spec.vocab;
  return 2 * (weights * static_cast<double>(tokens) + output);
}

}  // namespace switchyard
