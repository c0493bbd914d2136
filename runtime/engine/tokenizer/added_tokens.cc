#include "runtime/engine/tokenizer/added_tokens.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "runtime/engine/tokenizer/fields.h"
#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

constexpr size_t kContentBytesMax = 1 << 10;
constexpr std::string_view kMetaspaceMark = "\u2581";  // what normalisers set for a blank

Result<AddedToken> parse_token(const Json& spec, const std::string& where) {
  Fields fields = TRY(Fields::of(spec, "added token", where));
  AddedToken token;
  token.content = TRY(fields.text("content"));
  token.id = static_cast<TokenId>(TRY(fields.count("id")));
  token.special = TRY(fields.flag("special", false));
  token.single_word = TRY(fields.flag("single_word", false));
  token.lstrip = TRY(fields.flag("lstrip", false));
  token.rstrip = TRY(fields.flag("rstrip", false));
  token.normalized = TRY(fields.flag("normalized", !token.special));
  if (token.content.empty() || token.content.size() > kContentBytesMax) {
    return fields.bad(fmt::format("id {} has {} bytes of content", token.id, token.content.size()));
  }
  TRY_STATUS(fields.done());
  return token;
}

size_t skip_space(std::string_view text, size_t at) {
  while (at < text.size() && is_white_space(rune_at(text, at).value)) at += rune_at(text, at).bytes;
  return at;
}

// Not before `floor`: what an earlier token took stays taken.
size_t skip_space_back(std::string_view text, size_t at, size_t floor) {
  while (at > floor && is_white_space(rune_before(text, at).value)) {
    at -= rune_before(text, at).bytes;
  }
  return at;
}

bool stands_alone(std::string_view text, size_t begin, size_t end) {
  const bool word_before = begin > 0 && is_word(rune_before(text, begin).value);
  const bool word_after = end < text.size() && is_word(rune_at(text, end).value);
  return !word_before && !word_after;
}

}  // namespace

Result<std::vector<AddedToken>> parse_added_tokens(const Json& list, const std::string& where) {
  std::vector<AddedToken> tokens;
  if (list.is_null()) return tokens;
  if (!list.is_array()) return fail(Code::kBadData, "added_tokens is not a list", where);
  std::unordered_map<TokenId, size_t> by_id;
  std::unordered_map<std::string, TokenId> ids;
  for (const Json& spec : list) {
    AddedToken token = TRY(parse_token(spec, where));
    const auto [same_content, new_content] = ids.emplace(token.content, token.id);
    const auto [same_id, new_id] = by_id.emplace(token.id, tokens.size());
    if (same_content->second != token.id ||
        (!new_id && tokens[same_id->second].content != token.content)) {
      return fail(Code::kBadData,
                  fmt::format("added token \"{}\" with id {} contradicts an earlier one",
                              token.content, token.id),
                  where);
    }
    if (new_id) {
      tokens.push_back(std::move(token));
    } else {
      tokens[same_id->second] = std::move(token);
    }
  }
  return tokens;
}

AddedTokenFinder::AddedTokenFinder(std::vector<Needle> needles) : needles_(std::move(needles)) {
  std::stable_sort(needles_.begin(), needles_.end(),
                   [](const Needle& a, const Needle& b) { return a.text < b.text; });
  const auto same = [](const Needle& a, const Needle& b) { return a.text == b.text; };
  needles_.erase(std::unique(needles_.begin(), needles_.end(), same), needles_.end());
  for (size_t i = 0; i < needles_.size(); ++i) {
    Range& range = by_first_byte_[static_cast<unsigned char>(needles_[i].text.front())];
    if (range.end == 0) range.begin = i;
    range.end = i + 1;
  }
}

// Narrows the sorted needles byte by byte to those that begin as the text does.
const AddedTokenFinder::Needle* AddedTokenFinder::longest_at(std::string_view text,
                                                             size_t at) const {
  Range range = by_first_byte_[static_cast<unsigned char>(text[at])];
  const Needle* longest = nullptr;
  for (size_t depth = 1; range.begin < range.end; ++depth) {
    const Needle& shortest = needles_[range.begin];
    if (shortest.text.size() == depth) {
      longest = &shortest;
      ++range.begin;
    }
    if (at + depth == text.size()) break;
    const auto begin = needles_.begin() + static_cast<std::ptrdiff_t>(range.begin);
    const auto end = needles_.begin() + static_cast<std::ptrdiff_t>(range.end);
    const auto byte = static_cast<unsigned char>(text[at + depth]);
    const auto value = [depth](const Needle& needle) {
      return static_cast<unsigned char>(needle.text[depth]);
    };
    const auto first = std::partition_point(
        begin, end, [&](const Needle& needle) { return value(needle) < byte; });
    const auto last = std::partition_point(
        first, end, [&](const Needle& needle) { return value(needle) == byte; });
    range = {static_cast<size_t>(first - needles_.begin()),
             static_cast<size_t>(last - needles_.begin())};
  }
  return longest;
}

std::vector<TextSegment> AddedTokenFinder::split(std::string_view text) const {
  std::vector<TextSegment> segments;
  size_t done = 0;
  for (size_t at = 0; at < text.size();) {
    const Needle* needle = longest_at(text, at);
    if (needle == nullptr) {
      ++at;
      continue;
    }
    size_t begin = at;
    size_t end = at + needle->text.size();
    at = end;
    const AddedToken& token = needle->token;
    if (token.single_word && !stands_alone(text, begin, end)) continue;
    if (token.lstrip) begin = std::max(done, skip_space_back(text, begin, std::min(done, begin)));
    if (token.rstrip) end = skip_space(text, end);
    if (done < begin) segments.push_back({done, begin, -1});
    segments.push_back({begin, end, token.id});
    done = end;
  }
  if (done < text.size()) segments.push_back({done, text.size(), -1});
  return segments;
}

bool AddedTokenFinder::keeps_cuts(bool normalized) const {
  const auto lies_across = [normalized](const std::string& text) {
    for (size_t i = 0; i + 1 < text.size(); ++i) {
      const std::string_view rest = std::string_view(text).substr(i + 1);
      const bool blank = rest.front() == ' ' || (normalized && rest.starts_with(kMetaspaceMark));
      if (text[i] == '\n' || (is_ascii_letter(text[i]) && blank)) return true;
    }
    return false;
  };
  return std::none_of(needles_.begin(), needles_.end(), [&](const Needle& needle) {
    const AddedToken& token = needle.token;
    return token.single_word || token.lstrip ||
           (token.rstrip && is_ascii_letter(needle.text.back())) || lies_across(needle.text);
  });
}

}  // namespace switchyard
