#pragma once

#include <string>
#include <vector>

#include "runtime/base/json.h"

namespace switchyard {

// Reads the members of one JSON object and remembers which were read, so that a member nobody asked
// for is refused by name instead of ignored. The object must outlive this. Wrong types and missing
// members are kBadData, unknown members and values kConfig.
class Fields {
 public:
  // `name` says what the object is, for errors: "normalizer", "pre_tokenizer" …
  static Result<Fields> of(const Json& object, std::string name, std::string where);

  bool has(const char* key) const;  // present and not null
  Result<bool> flag(const char* key, bool otherwise);
  Result<uint64_t> count(const char* key);  // 0 … 2^31 − 1
  Result<std::string> text(const char* key);
  Result<std::string> text_or(const char* key, const std::string& otherwise);
  Result<char32_t> rune(const char* key);               // a string of one character
  Result<const Json*> value(const char* key);           // must be there; null counts
  Result<const Json*> list(const char* key);            // an array
  void skip(const char* key) { seen_.push_back(key); }  // a member without influence here
  Status done() const;                                  // kConfig names a member that was not read

  tl::unexpected<Error> bad(const std::string& what) const;          // kBadData
  tl::unexpected<Error> unsupported(const std::string& what) const;  // kConfig
  const std::string& where() const { return where_; }

 private:
  Fields(const Json& object, std::string name, std::string where)
      : object_(&object), name_(std::move(name)), where_(std::move(where)) {}
  const Json* find(const char* key);

  const Json* object_;
  std::string name_;
  std::string where_;
  std::vector<std::string> seen_;
};

}  // namespace switchyard
