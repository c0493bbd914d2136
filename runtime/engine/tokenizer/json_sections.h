#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

// JSON text with the readable bytes behind it that simdjson wants.
class PaddedJson {
 public:
  // Copies `text`. kBadData above 1 GiB.
  static Result<PaddedJson> copy(std::string_view text, const std::string& where);
  std::string_view text() const { return {bytes_.get(), size_}; }

 private:
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0;
};

// Below, `json` is the text of a PaddedJson or a part of one. All errors are kBadData.

// The members of the object `json`: name to text. The texts are views into it, not yet checked.
using JsonSections = std::map<std::string, std::string_view>;
Result<JsonSections> json_sections(std::string_view json, const std::string& where);

// Calls `use` for each member of an object of whole numbers, until one fails.
using NumberUse = std::function<Status(std::string_view key, int64_t value)>;
Status for_each_number(std::string_view json, const std::string& where, const NumberUse& use);

// Calls `use` for each entry of a list, which is one string or a list of two (then the first and
// the second), until one fails.
using PairUse = std::function<Status(std::string_view first, const std::string_view* second)>;
Status for_each_pair(std::string_view json, const std::string& where, const PairUse& use);

}  // namespace switchyard
