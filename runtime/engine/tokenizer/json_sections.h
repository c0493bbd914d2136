#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/json.h"
#include "runtime/base/result.h"

namespace switchyard {

// A value in a JSON file, and what errors call it.
struct JsonPart {
  std::string_view text;
  std::string name;   // "model.vocab"; empty for the whole file
  size_t offset = 0;  // of the text in the file, in bytes
};

// JSON text with the readable bytes behind it that simdjson wants.
class PaddedJson {
 public:
  // Copies `text`. kBadData above 1 GiB.
  static Result<PaddedJson> copy(std::string_view text, const std::string& where);
  // A view of the copy.
  JsonPart whole() const { return {{bytes_.get(), size_}, {}, 0}; }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
};

// Below, `json` is a PaddedJson as a whole or a part of one. All errors are kBadData: a syntax
// error says at which byte of the file where that is known, a value of the wrong type is named.

// The members of the object `json` by their keys. The texts are views into it, not yet checked.
using JsonSections = std::map<std::string, JsonPart>;
Result<JsonSections> json_sections(const JsonPart& json, const std::string& where);

// The value itself; for small ones.
Result<Json> parse_part(const JsonPart& json, const std::string& where);

// Calls `use` for each member of an object of whole numbers, until one fails.
using NumberUse = std::function<Status(std::string_view key, int64_t value)>;
Status for_each_number(const JsonPart& json, const std::string& where, const NumberUse& use);

// Calls `use` for each entry of a list, which is one string or a list of two (then the first and
// the second), until one fails.
using PairUse = std::function<Status(std::string_view first, const std::string_view* second)>;
Status for_each_pair(const JsonPart& json, const std::string& where, const PairUse& use);

}  // namespace switchyard
