#include "runtime/engine/tokenizer/json_sections.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <optional>

namespace switchyard {
namespace {

namespace ondemand = simdjson::ondemand;

constexpr size_t kBytesMax = size_t{1} << 30;

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

// Reads one part; kept together because a document lives no longer than its parser.
class Reader {
 public:
  Reader(const JsonPart& part, const std::string& where) : part_(part), where_(where) {}

  Status open() {
    const size_t capacity = part_.text.size() + simdjson::SIMDJSON_PADDING;
    const auto error = parser_.iterate(part_.text, capacity).get(document_);
    if (error) return fail(Code::kBadData, not_json(error, ""), where_);
    return {};
  }

  Result<ondemand::object> object() {
    ondemand::object object;
    const auto error = document_.get_object().get(object);
    if (error) return misfit(document_, error, "", "an object");
    return object;
  }

  Result<ondemand::array> list() {
    ondemand::array list;
    const auto error = document_.get_array().get(list);
    if (error) return misfit(document_, error, "", "a list");
    return list;
  }

  // simdjson stops at the end of a document's first value.
  bool at_end() { return document_.current_location().error() == simdjson::OUT_OF_BOUNDS; }

  tl::unexpected<Error> bad_json(simdjson::error_code error) {
    // Of an incomplete value simdjson tells the beginning.
    const bool incomplete = error == simdjson::INCOMPLETE_ARRAY_OR_OBJECT;
    const std::optional<size_t> offset = incomplete ? std::nullopt : place();
    const std::string at = offset ? fmt::format(" at byte {}", *offset) : "";
    return fail(Code::kBadData, not_json(error, at), where_);
  }

  // For `value`, which did not read as `kind` for this reason. `what` tells which value of the part
  // it is; nothing when it is the part itself.
  template <class Value>
  tl::unexpected<Error> misfit(Value& value, simdjson::error_code error, const std::string& what,
                               const char* kind) {
    if (error != simdjson::INCORRECT_TYPE || value.type().error()) return bad_json(error);
    return bad(fmt::format("{}must be {}", what.empty() ? "" : what + " ", kind));
  }

  // `what` about the part.
  tl::unexpected<Error> bad(const std::string& what) const {
    if (part_.name.empty()) return fail(Code::kBadData, what, where_);
    return fail(Code::kBadData, fmt::format("{}: {}", part_.name, what), where_);
  }

 private:
  static std::string not_json(simdjson::error_code error, const std::string& at) {
    return fmt::format("not valid JSON{}: {}", at, simdjson::error_message(error));
  }

  // Where the reading stopped, in bytes of the file.
  std::optional<size_t> place() {
    const char* location = nullptr;
    if (document_.current_location().get(location)) return std::nullopt;
    const auto offset = static_cast<size_t>(location - part_.text.data());
    if (offset > part_.text.size()) return std::nullopt;
    return part_.offset + offset;
  }

  const JsonPart& part_;
  const std::string& where_;
  ondemand::parser parser_;
  ondemand::document document_;
};

// Evaluates to the value of a simdjson_result, or returns its error from the enclosing function.
#define JSON_TRY(type, expression)                          \
  __extension__({                                           \
    type json_value_;                                       \
    const auto json_error_ = (expression).get(json_value_); \
    if (json_error_) return reader.bad_json(json_error_);   \
    json_value_;                                            \
  })

Status use_pair(Reader& reader, ondemand::value& value, size_t number, const PairUse& use) {
  const auto misfit = [&](ondemand::value& part, simdjson::error_code error) {
    return reader.misfit(part, error, fmt::format("entry {}", number),
                         "a string or a list of two strings");
  };
  std::string_view parts[2];
  if (!value.get_string().get(parts[0])) return use(parts[0], nullptr);
  ondemand::array list;
  if (const auto error = value.get_array().get(list)) return misfit(value, error);
  size_t count = 0;
  for (auto entry : list) {
    if (count == 2) return reader.bad(fmt::format("entry {} has more than two parts", number));
    ondemand::value part = JSON_TRY(ondemand::value, entry);
    if (const auto error = part.get_string().get(parts[count++])) return misfit(part, error);
  }
  if (count < 2) return reader.bad(fmt::format("entry {} has less than two parts", number));
  return use(parts[0], &parts[1]);
}

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

Result<JsonSections> json_sections(const JsonPart& json, const std::string& where) {
  Reader reader(json, where);
  TRY_STATUS(reader.open());
  JsonSections sections;
  for (auto field : TRY(reader.object())) {
    const std::string key(JSON_TRY(std::string_view, field.unescaped_key()));
    const auto text =
        JSON_TRY(std::string_view, raw_text(JSON_TRY(ondemand::value, field.value())));
    const auto offset = json.offset + static_cast<size_t>(text.data() - json.text.data());
    sections[key] = {text, json.name.empty() ? key : json.name + "." + key, offset};
  }
  if (!reader.at_end()) return reader.bad_json(simdjson::TRAILING_CONTENT);
  return sections;
}

Result<Json> parse_part(const JsonPart& json, const std::string& where) {
  auto value = parse_json(json.text, where);
  if (!value) {
    Error error = std::move(value).error();
    error.what = fmt::format("{}, from byte {}: {}", json.name, json.offset, error.what);
    return tl::unexpected(std::move(error));
  }
  return value;
}

Status for_each_number(const JsonPart& json, const std::string& where, const NumberUse& use) {
  Reader reader(json, where);
  TRY_STATUS(reader.open());
  for (auto field : TRY(reader.object())) {
    const std::string_view key = JSON_TRY(std::string_view, field.unescaped_key());
    ondemand::value value = JSON_TRY(ondemand::value, field.value());
    int64_t number = 0;
    if (const auto error = value.get_int64().get(number)) {
      return reader.misfit(value, error, fmt::format("\"{}\"", key), "a whole number");
    }
    TRY_STATUS(use(key, number));
  }
  return {};
}

Status for_each_pair(const JsonPart& json, const std::string& where, const PairUse& use) {
  Reader reader(json, where);
  TRY_STATUS(reader.open());
  size_t number = 0;
  for (auto entry : TRY(reader.list())) {
    ondemand::value value = JSON_TRY(ondemand::value, entry);
    TRY_STATUS(use_pair(reader, value, number++, use));
  }
  return {};
}

}  // namespace switchyard
