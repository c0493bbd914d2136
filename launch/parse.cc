#include "launch/parse.h"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

namespace switchyard {
namespace {

// `text` as it is fit for a message.
std::string shown(std::string_view text) {
  constexpr size_t kShownMax = 40;
  if (text.size() <= kShownMax) return fmt::format("'{}'", text);
  return fmt::format("'{}…'", text.substr(0, kShownMax));
}

// True when all of `text` was taken.
template <class T>
bool convert(std::string_view text, T& value) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size();
}

bool is_blank(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string_view trimmed(std::string_view text) {
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// The next id's text, cut off the front of `rest` together with the one comma after it.
Result<std::string_view> take_item(std::string_view& rest) {
  size_t length = 0;
  while (length < rest.size() && rest[length] != ',' && !is_blank(rest[length])) ++length;
  const std::string_view item = rest.substr(0, length);
  if (item.empty()) return fail(Code::kUsage, "an id is missing before a comma");
  rest = trimmed(rest.substr(length));
  if (rest.starts_with(',')) {
    rest = trimmed(rest.substr(1));
    if (rest.empty()) return fail(Code::kUsage, "an id is missing after the last comma");
  }
  return item;
}

}  // namespace

Result<int64_t> parse_integer(std::string_view text, int64_t min, int64_t max) {
  int64_t value = 0;
  if (!convert(text, value)) {
    return fail(Code::kUsage, fmt::format("{} is not a whole number", shown(text)));
  }
  if (value < min || value > max) {
    return fail(Code::kUsage, fmt::format("{} is outside {} … {}", value, min, max));
  }
  return value;
}

Result<uint64_t> parse_seed(std::string_view text) {
  uint64_t value = 0;
  if (!convert(text, value)) {
    return fail(Code::kUsage, fmt::format("{} is not a whole number below 2^64", shown(text)));
  }
  return value;
}

Result<double> parse_number(std::string_view text, double min, double max) {
  double value = 0;
  if (!convert(text, value) || !std::isfinite(value)) {
    return fail(Code::kUsage, fmt::format("{} is not a number", shown(text)));
  }
  if (value < min || value > max) {
    return fail(Code::kUsage, fmt::format("{} is outside {} … {}", value, min, max));
  }
  return value;
}

Result<std::vector<TokenId>> parse_ids(std::string_view text) {
  std::string_view rest = trimmed(text);
  if (rest.starts_with('[')) {
    if (rest.size() < 2 || !rest.ends_with(']')) {
      return fail(Code::kUsage, fmt::format("{} is not a list of ids", shown(text)));
    }
    rest = trimmed(rest.substr(1, rest.size() - 2));
  }
  std::vector<TokenId> ids;
  while (!rest.empty()) {
    const std::string_view item = TRY(take_item(rest));
    TokenId id = 0;
    if (!convert(item, id) || id < 0) {
      return fail(Code::kUsage, fmt::format("{} is not a token id", shown(item)));
    }
    ids.push_back(id);
  }
  return ids;
}

Status check_ids(const std::vector<TokenId>& ids, uint64_t vocab) {
  for (const TokenId id : ids) {
    if (id < 0 || static_cast<uint64_t>(id) >= vocab) {
      return fail(Code::kUsage, fmt::format("id {} is outside the vocabulary of {}", id, vocab));
    }
  }
  return {};
}

}  // namespace switchyard
