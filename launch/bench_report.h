#pragma once

// What `bench` measured, each figure beside the bound that was measured around it.

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/json.h"

namespace switchyard {

struct ModelSpec;

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};

// Of an even number of values the median is the mean of the middle two. All 0 for none.
Spread spread_of(std::vector<double> values);

// One figure, a value for each repeat.
struct BenchRow {
  std::string label;           // for people: "weights used"
  std::string group;           // in the JSON report: "decode", "prefill", "reads"
  std::string key;             // in it: "tokens_per_second"
  std::string unit;            // for people
  std::string bound_key;       // "memory_gb_per_s"; "" when it has no bound
  std::vector<double> values;  // in that unit
  std::vector<double> bounds;  // in the same, one for each value

  void add(double value) { values.push_back(value); }
  void add(double value, double bound);
  // Values ÷ bounds, pair by pair.
  std::vector<double> fractions() const;
};

// A line a row: median, least and most of the values and of their fractions of the bound.
std::string bench_table(const std::vector<BenchRow>& rows);

// {GROUP: {KEY: {"median", "min", "max"}, …}}; a row with a bound adds BOUND_KEY and
// KEY_of_bound.
Json bench_json(const std::vector<BenchRow>& rows);

// Floating-point operations of the products of one prompt of which the last token gets logits: two
// for each weight a token uses. Attention scores are not counted.
double prompt_product_flops(const ModelSpec& spec, uint64_t tokens);

}  // namespace switchyard
