#include "runtime/engine/tokenizer/pattern.h"

#include <algorithm>

#include "runtime/engine/tokenizer/fields.h"

namespace switchyard {

Result<Pattern> Pattern::parse(const Json& pattern, const std::string& where) {
  Fields fields = TRY(Fields::of(pattern, "pattern", where));
  if (fields.has("Regex")) {
    const std::string expression = TRY(fields.text("Regex"));
    TRY_STATUS(fields.done());
    return regex(expression, where);
  }
  std::string text = TRY(fields.text("String"));
  TRY_STATUS(fields.done());
  if (text.empty()) return fields.bad("\"String\" is empty");
  return literal(std::move(text));
}

Pattern Pattern::literal(std::string text) {
  Pattern pattern;
  pattern.literal_ = std::move(text);
  return pattern;
}

Result<Pattern> Pattern::regex(std::string_view expression, const std::string& where) {
  Pattern pattern;
  pattern.regex_ = TRY(Regex::compile(expression, where));
  return pattern;
}

Status Pattern::find_all(std::string_view text, RegexScratch& scratch,
                         std::vector<Match>& out) const {
  if (regex_) return regex_->find_all(text, scratch, out);
  for (size_t at = text.find(literal_); at != std::string_view::npos;) {
    const size_t end = at + literal_.size();
    out.push_back({static_cast<uint32_t>(at), static_cast<uint32_t>(end)});
    at = text.find(literal_, end);
  }
  return {};
}

Status Pattern::find_certain(std::string_view text, RegexScratch& scratch, std::vector<Match>& out,
                             size_t& open_at) const {
  if (regex_) return regex_->find_certain(text, scratch, out, open_at);
  TRY_STATUS(find_all(text, scratch, out));
  // The literal may have begun at the end.
  open_at = text.size() - std::min(text.size(), literal_.size() - 1);
  if (!out.empty()) open_at = std::max<size_t>(open_at, out.back().end);
  return {};
}

Result<std::string> Pattern::replace_all(std::string_view text, std::string_view with,
                                         RegexScratch& scratch) const {
  std::vector<Match> matches;
  TRY_STATUS(find_all(text, scratch, matches));
  std::string out;
  size_t done = 0;
  for (const Match& match : matches) {
    out += text.substr(done, match.begin - done);
    out += with;
    done = match.end;
  }
  out += text.substr(done);
  return out;
}

}  // namespace switchyard
