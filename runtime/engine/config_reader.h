#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/json.h"
#include "runtime/base/result.h"

namespace switchyard {

struct CountRange {
  uint32_t min = 1;
  uint32_t max = 0;
};
struct NumberRange {
  double min = 0;
  double max = 0;
  bool min_fits = false;  // whether the value may be `min` itself
};

// Typed, bounded access to one JSON object that remembers which keys were asked for. A key whose
// value is null counts as absent. Every value of the wrong type or outside its range is kBadData
// naming key and value. Borrows the object; not thread safe.
class ConfigReader {
 public:
  // `prefix` is put before keys in messages ("rope_parameters."). `object` must be a JSON object.
  ConfigReader(const Json& object, std::string where, std::string prefix = {});

  const std::string& where() const { return where_; }
  bool has(std::string_view key) const;  // present and not null
  bool is_explicit_null(std::string_view key) const;

  // nullptr when absent. Counts as asked for.
  const Json* find(std::string_view key);

  Result<std::optional<uint32_t>> count(std::string_view key, CountRange range);
  Result<uint32_t> count_or(std::string_view key, CountRange range, uint32_t absent);
  Result<uint32_t> required_count(std::string_view key, CountRange range);
  Result<std::optional<double>> number(std::string_view key, NumberRange range);
  Result<double> number_or(std::string_view key, NumberRange range, double absent);
  Result<std::optional<bool>> flag(std::string_view key);
  Result<bool> flag_or(std::string_view key, bool absent);
  Result<std::optional<std::string>> text(std::string_view key);
  // Lists of at most `size_max` entries; empty when absent.
  Result<std::vector<uint32_t>> counts(std::string_view key, size_t size_max, CountRange range);
  Result<std::vector<std::string>> texts(std::string_view key, size_t size_max);
  // One count or a list of them: eos_token_id. Duplicates are dropped, the order is kept.
  Result<std::vector<uint32_t>> count_or_counts(std::string_view key, size_t size_max,
                                                CountRange range);

  // Errors that name the key and its value. `why` completes "KEY is VALUE, …".
  tl::unexpected<Error> bad(std::string_view key, std::string_view why) const;
  tl::unexpected<Error> refuse(std::string_view key, std::string_view why) const;
  tl::unexpected<Error> missing(std::string_view key) const;

  void mark_known(std::string_view key);  // as if asked for
  bool was_asked(std::string_view key) const { return asked_.contains(key); }
  // A line for each key never asked for whose value is not null, false or empty, in alphabetical
  // order; past the thirty-second one line says how many more there are.
  std::vector<std::string> unknown_key_warnings() const;

 private:
  std::string shown(std::string_view key) const;

  const Json& object_;
  std::string where_;
  std::string prefix_;
  std::set<std::string, std::less<>> asked_;
};

// `text` cut to a length fit for a message.
std::string abbreviated(std::string text);

}  // namespace switchyard
