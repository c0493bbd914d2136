#include "runtime/engine/tokenizer/fields.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {

Result<Fields> Fields::of(const Json& object, std::string name, std::string where) {
  if (!object.is_object()) {
    return fail(Code::kBadData, fmt::format("{} is not a JSON object", name), std::move(where));
  }
  return Fields(object, std::move(name), std::move(where));
}

const Json* Fields::find(const char* key) {
  seen_.emplace_back(key);
  const auto found = object_->find(key);
  return found == object_->end() ? nullptr : &*found;
}

bool Fields::has(const char* key) const {
  const auto found = object_->find(key);
  return found != object_->end() && !found->is_null();
}

Result<bool> Fields::flag(const char* key, bool otherwise) {
  const Json* value = find(key);
  if (value == nullptr || value->is_null()) return otherwise;
  if (!value->is_boolean()) return bad(fmt::format("\"{}\" is not true or false", key));
  return value->get<bool>();
}

Result<uint64_t> Fields::count(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return bad(fmt::format("\"{}\" is missing", key));
  if (!value->is_number_unsigned() || value->get<uint64_t>() > INT32_MAX) {
    return bad(fmt::format("\"{}\" is not a whole number below 2^31", key));
  }
  return value->get<uint64_t>();
}

Result<std::string> Fields::text(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return bad(fmt::format("\"{}\" is missing", key));
  if (!value->is_string()) return bad(fmt::format("\"{}\" is not a string", key));
  return value->get<std::string>();
}

Result<std::string> Fields::text_or(const char* key, const std::string& otherwise) {
  if (!has(key)) {
    skip(key);
    return otherwise;
  }
  return text(key);
}

Result<char32_t> Fields::rune(const char* key) {
  const char32_t rune = only_rune(TRY(text(key)));
  if (rune == 0) return bad(fmt::format("\"{}\" is not one character", key));
  return rune;
}

Result<const Json*> Fields::value(const char* key) {
  const Json* value = find(key);
  if (value == nullptr) return bad(fmt::format("\"{}\" is missing", key));
  return value;
}

Result<const Json*> Fields::list(const char* key) {
  const Json* value = TRY(this->value(key));
  if (!value->is_array()) return bad(fmt::format("\"{}\" is not a list", key));
  return value;
}

Status Fields::done() const {
  for (const auto& [key, value] : object_->items()) {
    if (std::find(seen_.begin(), seen_.end(), key) == seen_.end()) {
      return unsupported(fmt::format("\"{}\" is not known", key));
    }
  }
  return {};
}

tl::unexpected<Error> Fields::bad(const std::string& what) const {
  return fail(Code::kBadData, fmt::format("{}: {}", name_, what), where_);
}

tl::unexpected<Error> Fields::unsupported(const std::string& what) const {
  return fail(Code::kConfig, fmt::format("{}: {}", name_, what), where_);
}

}  // namespace switchyard
