#include "runtime/engine/tokenizer/json_sections.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <cstring>

namespace switchyard {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr size_t kBytesMax = size_t{1} << 30;

tl::unexpected<Error> bad_json(simdjson::error_code error, const std::string& where) {
  return fail(Code::kBadData, fmt::format("not valid JSON: {}", simdjson::error_message(error)),
              where);
}

// Evaluates to the value of a simdjson_result, or returns its error from the enclosing function.
#define JSON_TRY(type, expression)                          \
  __extension__({                                           \
    type json_value_;                                       \
    const auto json_error_ = (expression).get(json_value_); \
    if (json_error_) return bad_json(json_error_, where);   \
    json_value_;                                            \
  })

// The text of a value, which is skipped over.
simdjson::simdjson_result<std::string_view> raw_text(ondemand::value value) {
  ondemand::json_type type{};
  if (const auto error = value.type().get(type)) return error;
  if (type == ondemand::json_type::object) {
    ondemand::object object;
    if (const auto error = value.get_object().get(object)) return error;
    return object.raw_json();
  }
  if (type == ondemand::json_type::array) {
    ondemand::array array;
    if (const auto error = value.get_array().get(array)) return error;
    return array.raw_json();
  }
  return value.raw_json_token();
}

// Reads one text; kept together because a document lives no longer than its parser.
struct Reader {
  ondemand::parser parser;
  ondemand::document document;

  simdjson::error_code open(std::string_view json) {
    return parser.iterate(json, json.size() + simdjson::SIMDJSON_PADDING).get(document);
  }
};

}  // namespace

Result<PaddedJson> PaddedJson::copy(std::string_view text, const std::string& where) {
  if (text.size() > kBytesMax) return fail(Code::kBadData, "larger than 1 GiB", where);
  PaddedJson json;
  json.bytes_ = std::make_unique_for_overwrite<char[]>(text.size() + simdjson::SIMDJSON_PADDING);
  json.size_ = text.size();
  std::memcpy(json.bytes_.get(), text.data(), text.size());
  std::memset(json.bytes_.get() + text.size(), 0, simdjson::SIMDJSON_PADDING);
  return json;
}

Result<JsonSections> json_sections(std::string_view json, const std::string& where) {
  Reader reader;
  if (const auto error = reader.open(json)) return bad_json(error, where);
  JsonSections sections;
  for (auto field : JSON_TRY(ondemand::object, reader.document.get_object())) {
    const std::string key(JSON_TRY(std::string_view, field.unescaped_key()));
    sections[key] = JSON_TRY(std::string_view, raw_text(JSON_TRY(ondemand::value, field.value())));
  }
  const bool at_end = reader.document.current_location().error() == simdjson::OUT_OF_BOUNDS;
  if (!at_end) return bad_json(simdjson::TRAILING_CONTENT, where);
  return sections;
}

Status for_each_number(std::string_view json, const std::string& where, const NumberUse& use) {
  Reader reader;
  if (const auto error = reader.open(json)) return bad_json(error, where);
  for (auto field : JSON_TRY(ondemand::object, reader.document.get_object())) {
    const std::string_view key = JSON_TRY(std::string_view, field.unescaped_key());
    TRY_STATUS(use(key, JSON_TRY(int64_t, field.value().get_int64())));
  }
  return {};
}

Status for_each_pair(std::string_view json, const std::string& where, const PairUse& use) {
  Reader reader;
  if (const auto error = reader.open(json)) return bad_json(error, where);
  for (auto entry : JSON_TRY(ondemand::array, reader.document.get_array())) {
    ondemand::value value = JSON_TRY(ondemand::value, entry);
    if (JSON_TRY(ondemand::json_type, value.type()) == ondemand::json_type::string) {
      TRY_STATUS(use(JSON_TRY(std::string_view, value.get_string()), nullptr));
      continue;
    }
    std::string_view parts[2];
    size_t count = 0;
    for (auto part : JSON_TRY(ondemand::array, value.get_array())) {
      if (count == 2) return fail(Code::kBadData, "a merge has more than two parts", where);
      parts[count++] = JSON_TRY(std::string_view, part.get_string());
    }
    if (count < 2) return fail(Code::kBadData, "a merge has less than two parts", where);
    TRY_STATUS(use(parts[0], &parts[1]));
  }
  return {};
}

}  // namespace switchyard
