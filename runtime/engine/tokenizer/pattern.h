#pragma once

#include <optional>

#include "runtime/base/json.h"
#include "runtime/engine/tokenizer/regex.h"

namespace switchyard {

// {"String": …} or {"Regex": …}. Immutable, for any number of threads.
class Pattern {
 public:
  static Result<Pattern> parse(const Json& pattern, const std::string& where);
  static Pattern literal(std::string text);  // not empty
  static Result<Pattern> regex(std::string_view pattern, const std::string& where);

  // As Regex::find_all.
  Status find_all(std::string_view text, RegexScratch& scratch, std::vector<Match>& out) const;

  // As Regex::find_certain.
  Status find_certain(std::string_view text, RegexScratch& scratch, std::vector<Match>& out,
                      size_t& open_at) const;
  bool looks_back() const { return regex_ && regex_->looks_back(); }

  // `text` with each match replaced.
  Result<std::string> replace_all(std::string_view text, std::string_view with,
                                  RegexScratch& scratch) const;

  // The text looked for, or null for an expression.
  const std::string* literal_text() const { return regex_ ? nullptr : &literal_; }

 private:
  std::string literal_;
  std::optional<Regex> regex_;
};

}  // namespace switchyard
