#include "runtime/engine/tokenizer/regex_syntax.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <vector>

namespace switchyard {
namespace {

// White_Space and its complement. PCRE2's own \s takes U+180E too.
constexpr std::string_view kSpace =
    R"(\x09-\x0d\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";
constexpr std::string_view kNotSpace =
    R"(\x00-\x08\x0e-\x1f\x21-\x{84}\x{86}-\x{9f}\x{a1}-\x{167f}\x{1681}-\x{1fff})"
    R"(\x{200b}-\x{2027}\x{202a}-\x{202e}\x{2030}-\x{205e}\x{2060}-\x{2fff}\x{3001}-\x{10ffff})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";

// Blanks before a line's end. As it stands, each blank of a long run that ends elsewhere would be
// tried in turn; a match can only start where a run, or the search, does.
constexpr std::string_view kTrailingSpace = R"(\s+$)";

class Translator {
 public:
  Translator(std::string_view pattern, const std::string& where)
      : pattern_(pattern), where_(where) {}

  Result<std::string> run() {
    if (pattern_ == kTrailingSpace) out_ = R"((?:\G|(?<![)" + std::string(kSpace) + "]))";
    while (at_ < pattern_.size()) TRY_STATUS(in_class_ ? class_item() : item());
    if (in_class_) return refuse("a character class without end");
    return std::move(out_);
  }

 private:
  char peek(size_t ahead = 0) const {
    return at_ + ahead < pattern_.size() ? pattern_[at_ + ahead] : '\0';
  }
  bool starts_with(std::string_view text) const {
    return pattern_.substr(at_, text.size()) == text;
  }
  void copy(size_t count) {
    out_ += pattern_.substr(at_, count);
    at_ += count;
  }
  tl::unexpected<Error> refuse(const std::string& what) const {
    return fail(Code::kConfig, fmt::format("the pattern {} has {}", pattern_, what), where_);
  }

  Status item() {
    switch (peek()) {
      case '\\':
        atom_ = out_.size();
        return escape();
      case '[':
        atom_ = out_.size();
        return open_class();
      case '(':
        open_groups_.push_back(out_.size());
        return open_group();
      case ')':
        if (open_groups_.empty()) return refuse("\")\" without \"(\"");
        atom_ = open_groups_.back();
        open_groups_.pop_back();
        copy(1);
        return {};
      case '{':
        return interval();
      case '+':
      case '*':
      case '?':
        copy(1);
        return {};
      default:
        atom_ = out_.size();
        copy(1);
        return {};
    }
  }

  Status open_class() {
    copy(peek(1) == '^' ? 2 : 1);
    if (peek() == ']') return refuse("\"]\" first in a character class");
    in_class_ = true;
    return {};
  }

  Status class_item() {
    if (peek() == '[') return refuse("a character class inside another");
    if (starts_with("&&")) return refuse("\"&&\" in a character class");
    if (peek() == '\\') return escape();
    in_class_ = peek() != ']';
    copy(1);
    return {};
  }

  Status open_group() {
    if (peek(1) == '*') return refuse("\"(*\"");
    if (peek(1) != '?') {
      copy(1);
      return {};
    }
    for (const std::string_view known :
         {"(?:", "(?=", "(?!", "(?>", "(?<=", "(?<!", "(?i:", "(?i)", "(?-i:"}) {
      if (!starts_with(known)) continue;
      copy(known.size());
      return {};
    }
    return refuse(fmt::format("the group \"{}\"", pattern_.substr(at_, 3)));
  }

  // {n}, {n,}, {n,m}, {,m}; any other brace is itself.
  Status interval() {
    const size_t close = pattern_.find('}', at_);
    const std::string_view body =
        close == std::string_view::npos ? "" : pattern_.substr(at_ + 1, close - at_ - 1);
    const bool valid = body.find_first_not_of("0123456789,") == std::string_view::npos &&
                       body.find_first_of("0123456789") != std::string_view::npos &&
                       body.find(',') == body.rfind(',');
    if (!valid) {
      atom_ = out_.size();
      out_ += "\\{";
      ++at_;
      return {};
    }
    out_ += body.front() == ',' ? "{0" : "{";
    out_ += body;
    out_ += '}';
    at_ = close + 1;
    // Here + repeats once more, where PCRE2 would take it for "possessive".
    if (peek() == '+') {
      out_.insert(atom_, "(?:");
      out_ += ")+";
      ++at_;
    } else if (peek() == '?' && body.find(',') == std::string_view::npos) {
      return refuse("\"?\" after \"{n}\"");
    }
    return {};
  }

  Status escape() {
    const char letter = peek(1);
    switch (letter) {
      case 's':
        return set(kSpace, "");
      case 'S':
        return in_class_ ? set(kNotSpace, "") : set(kSpace, "^");
      case 'w':
        return set(kWord, "");
      case 'W':
        return in_class_ ? refuse("\\W in a character class") : set(kWord, "^");
      case 'd':
        return replace(2, R"(\p{Nd})");
      case 'D':
        return replace(2, R"(\P{Nd})");
      case 'v':
        return replace(2, R"(\x0b)");
      case 'p':
      case 'P':
        return property();
      case 'x':
      case 'u':
        return code_point();
      case 'A':
      case 'z':
      case 'Z':
        if (in_class_) break;
        copy(2);
        return {};
      default:
        break;
    }
    const bool plain = std::string_view("rntfae").find(letter) != std::string_view::npos;
    const bool alphanumeric = (letter >= '0' && letter <= '9') ||
                              (letter >= 'a' && letter <= 'z') || (letter >= 'A' && letter <= 'Z');
    if (letter == '\0' || (alphanumeric && !plain)) {
      return refuse(fmt::format("\"\\{}\"", letter == '\0' ? ' ' : letter));
    }
    if (static_cast<unsigned char>(letter) >= 0x80) {
      ++at_;  // the character itself follows
    } else {
      copy(2);
    }
    return {};
  }

  Status set(std::string_view members, const char* negation) {
    return replace(2, in_class_ ? std::string(members) : fmt::format("[{}{}]", negation, members));
  }

  Status replace(size_t count, std::string_view with) {
    out_ += with;
    at_ += count;
    return {};
  }

  // \p{L} or \p{^L}: a general category has one or two letters; a longer name is a script.
  Status property() {
    const size_t close = pattern_.find('}', at_);
    if (peek(2) != '{' || close == std::string_view::npos) return refuse("\\p without {NAME}");
    std::string_view name = pattern_.substr(at_ + 3, close - at_ - 3);
    const bool negated = !name.empty() && name.front() == '^';
    if (negated) name.remove_prefix(1);
    out_ += fmt::format("\\{}{{{}{}{}}}", peek(1), negated ? "^" : "", name.size() > 2 ? "sc:" : "",
                        name);
    at_ = close + 1;
    return {};
  }

  // \x{H…}, \xHH below 80, \uHHHH.
  Status code_point() {
    const bool braced = peek(1) == 'x' && peek(2) == '{';
    const size_t first = at_ + (braced ? 3 : 2);
    const size_t digits_max = braced ? 8 : peek(1) == 'u' ? 4 : 2;
    const std::string_view digits = pattern_.substr(std::min(first, pattern_.size()), digits_max);
    uint32_t value = 0;
    const auto [end, error] =
        std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
    const size_t length = static_cast<size_t>(end - digits.data());
    at_ = first + length;
    const bool whole = braced ? peek() == '}' : length == digits_max;
    if (error != std::errc() || !whole || (digits_max == 2 && value >= 0x80)) {
      return refuse("a character code that is not \\xHH below 80, \\x{H} or \\uHHHH");
    }
    if (braced) ++at_;
    out_ += fmt::format("\\x{{{:x}}}", value);
    return {};
  }

  std::string_view pattern_;
  const std::string& where_;
  std::string out_;
  size_t at_ = 0;
  size_t atom_ = 0;  // where in out_ the thing begins that a quantifier would repeat
  std::vector<size_t> open_groups_;
  bool in_class_ = false;
};

}  // namespace

Result<std::string> pcre2_pattern(std::string_view pattern, const std::string& where) {
  return Translator(pattern, where).run();
}

}  // namespace switchyard
