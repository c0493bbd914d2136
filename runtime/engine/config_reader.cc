#include "runtime/engine/config_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

// Why the value does not fit; nothing when it does.
std::optional<std::string> misfit(const Json& value, CountRange range) {
  const auto fits = [&range](auto number) {
    return std::cmp_greater_equal(number, range.min) && std::cmp_less_equal(number, range.max);
  };
  // An unsigned JSON number is also an "integer", so the order matters.
  const bool good = value.is_number_unsigned()  ? fits(value.get<uint64_t>())
                    : value.is_number_integer() ? fits(value.get<int64_t>())
                                                : false;
  if (good) return std::nullopt;
  return fmt::format("expected a whole number from {} to {}", range.min, range.max);
}

std::optional<std::string> misfit(const Json& value, NumberRange range) {
  const double number = value.is_number() ? value.get<double>() : NAN;
  const bool above = range.min_fits ? number >= range.min : number > range.min;
  if (above && number <= range.max) return std::nullopt;
  return fmt::format("expected a number {} {} and at most {}", range.min_fits ? "from" : "above",
                     range.min, range.max);
}

bool is_void(const Json& value) {
  return value.is_null() || value == false || (value.is_structured() && value.empty()) ||
         (value.is_string() && value.get_ref<const std::string&>().empty());
}

}  // namespace

std::string abbreviated(std::string text) {
  constexpr size_t kLengthMax = 80;
  if (text.size() <= kLengthMax) return text;
  size_t end = kLengthMax;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end) + "...";
}

ConfigReader::ConfigReader(const Json& object, std::string where, std::string prefix)
    : object_(object), where_(std::move(where)), prefix_(std::move(prefix)) {
  CHECK(object.is_object());
}

bool ConfigReader::has(std::string_view key) const {
  const auto at = object_.find(key);
  return at != object_.end() && !at->is_null();
}

bool ConfigReader::is_explicit_null(std::string_view key) const {
  const auto at = object_.find(key);
  return at != object_.end() && at->is_null();
}

const Json* ConfigReader::find(std::string_view key) {
  mark_known(key);
  return has(key) ? &*object_.find(key) : nullptr;
}

Result<std::optional<uint32_t>> ConfigReader::count(std::string_view key, CountRange range) {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  if (const auto why = misfit(*value, range)) return bad(key, *why);
  return value->get<uint32_t>();
}

Result<uint32_t> ConfigReader::count_or(std::string_view key, CountRange range, uint32_t absent) {
  return TRY(count(key, range)).value_or(absent);
}

Result<uint32_t> ConfigReader::required_count(std::string_view key, CountRange range) {
  const auto value = TRY(count(key, range));
  if (!value) return missing(key);
  return *value;
}

Result<std::optional<double>> ConfigReader::number(std::string_view key, NumberRange range) {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  if (const auto why = misfit(*value, range)) return bad(key, *why);
  return value->get<double>();
}

Result<double> ConfigReader::number_or(std::string_view key, NumberRange range, double absent) {
  return TRY(number(key, range)).value_or(absent);
}

Result<std::optional<bool>> ConfigReader::flag(std::string_view key) {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_boolean()) return bad(key, "expected true or false");
  return value->get<bool>();
}

Result<bool> ConfigReader::flag_or(std::string_view key, bool absent) {
  return TRY(flag(key)).value_or(absent);
}

Result<std::optional<std::string>> ConfigReader::text(std::string_view key) {
  const Json* value = find(key);
  if (!value) return std::nullopt;
  if (!value->is_string()) return bad(key, "expected a string");
  return value->get<std::string>();
}

Result<std::vector<uint32_t>> ConfigReader::counts(std::string_view key, size_t size_max,
                                                   CountRange range) {
  std::vector<uint32_t> list;
  const Json* value = find(key);
  if (!value) return list;
  if (!value->is_array() || value->size() > size_max)
    return bad(key, fmt::format("expected a list of at most {} whole numbers", size_max));
  for (const Json& entry : *value) {
    if (const auto why = misfit(entry, range)) return bad(key, *why + " in each entry");
    list.push_back(entry.get<uint32_t>());
  }
  return list;
}

Result<std::vector<std::string>> ConfigReader::texts(std::string_view key, size_t size_max) {
  std::vector<std::string> list;
  const Json* value = find(key);
  if (!value) return list;
  const bool good =
      value->is_array() && value->size() <= size_max &&
      std::all_of(value->begin(), value->end(), [](const Json& e) { return e.is_string(); });
  if (!good) return bad(key, fmt::format("expected a list of at most {} strings", size_max));
  for (const Json& entry : *value) list.push_back(entry.get<std::string>());
  return list;
}

Result<std::vector<uint32_t>> ConfigReader::count_or_counts(std::string_view key, size_t size_max,
                                                            CountRange range) {
  const Json* value = find(key);
  if (value && !value->is_array()) return std::vector<uint32_t>{TRY(required_count(key, range))};
  std::vector<uint32_t> unique;
  for (const uint32_t entry : TRY(counts(key, size_max, range)))
    if (std::find(unique.begin(), unique.end(), entry) == unique.end()) unique.push_back(entry);
  return unique;
}

std::string ConfigReader::shown(std::string_view key) const {
  std::string text = prefix_ + abbreviated(std::string(key));
  const auto at = object_.find(key);
  if (at == object_.end()) return text + " is absent";
  // A container is cut before it is printed: its text may be as long as the file.
  if (at->is_structured() && at->size() > 64)
    return fmt::format("{} has {} entries", text, at->size());
  return text + " is " + abbreviated(at->dump(-1, ' ', false, Json::error_handler_t::replace));
}

tl::unexpected<Error> ConfigReader::bad(std::string_view key, std::string_view why) const {
  return fail(Code::kBadData, fmt::format("{}, {}", shown(key), why), where_);
}

tl::unexpected<Error> ConfigReader::refuse(std::string_view key, std::string_view why) const {
  return fail(Code::kConfig, fmt::format("{}, {}", shown(key), why), where_);
}

tl::unexpected<Error> ConfigReader::missing(std::string_view key) const {
  return fail(Code::kBadData, fmt::format("{}{} is missing", prefix_, key), where_);
}

void ConfigReader::mark_known(std::string_view key) { asked_.emplace(key); }

std::vector<std::string> ConfigReader::unknown_key_warnings() const {
  constexpr size_t kLinesMax = 32;
  std::vector<std::string> lines;
  size_t unknown = 0;
  for (const auto& [key, value] : object_.items()) {
    if (asked_.contains(key) || is_void(value) || ++unknown > kLinesMax) continue;
    lines.push_back(
        fmt::format("config key '{}{}' is not known and has no effect", prefix_, abbreviated(key)));
  }
  if (unknown > kLinesMax)
    lines.push_back(fmt::format("{} more config keys are not known", unknown - kLinesMax));
  return lines;
}

}  // namespace switchyard
