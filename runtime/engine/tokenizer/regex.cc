#include "runtime/engine/tokenizer/regex.h"

#include <fmt/core.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "runtime/base/check.h"
#include "runtime/engine/tokenizer/regex_syntax.h"
#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

constexpr size_t kPatternBytesMax = 1 << 16;
constexpr size_t kStackBytesMin = 32 << 10;
constexpr size_t kStackBytesMax = 4 << 20;
constexpr uint32_t kStepsMin = 1'000'000;
constexpr uint32_t kStepsMax = 1'000'000'000;
constexpr uint32_t kStepsPerByte = 8;

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  pcre2_get_error_message(code, text, sizeof(text));
  return reinterpret_cast<const char*>(text);
}

// PCRE2 does not count a circumflex, \G and \K as looking back.
bool looks_back_in(std::string_view pattern, const pcre2_code* code) {
  uint32_t characters = 0;
  pcre2_pattern_info(code, PCRE2_INFO_MAXLOOKBEHIND, &characters);
  if (characters > 0) return true;
  bool in_class = false;
  for (size_t at = 0; at < pattern.size(); ++at) {
    const char c = pattern[at];
    if (c == '\\') {
      ++at;
      if (at < pattern.size() && (pattern[at] == 'G' || pattern[at] == 'K')) return true;
    } else if (in_class) {
      in_class = c != ']';
    } else if (c == '^') {
      return true;
    } else if (c == '[') {
      in_class = true;
      if (pattern.substr(at + 1).starts_with('^')) ++at;
    }
  }
  return false;
}

}  // namespace

RegexScratch::RegexScratch() = default;

RegexScratch::~RegexScratch() {
  pcre2_match_data_free(data_);
  pcre2_match_context_free(context_);
  pcre2_jit_stack_free(stack_);
}

// A long run of blanks takes a few steps a byte; more than that is a pattern gone wild.
void RegexScratch::prepare(size_t text_bytes) {
  if (data_ == nullptr) {
    data_ = pcre2_match_data_create(1, nullptr);
    context_ = pcre2_match_context_create(nullptr);
    stack_ = pcre2_jit_stack_create(kStackBytesMin, kStackBytesMax, nullptr);
    CHECK(data_ != nullptr && context_ != nullptr && stack_ != nullptr);
    pcre2_jit_stack_assign(context_, nullptr, stack_);
  }
  const size_t steps = std::min<size_t>(kStepsMin + kStepsPerByte * text_bytes, kStepsMax);
  pcre2_set_match_limit(context_, static_cast<uint32_t>(steps));
}

void Regex::Free::operator()(pcre2_real_code_8* code) const { pcre2_code_free(code); }

Result<Regex> Regex::compile(std::string_view pattern, const std::string& where) {
  if (pattern.size() > kPatternBytesMax) {
    return fail(Code::kBadData, "a pattern is longer than 64 KiB", where);
  }
  const std::string translated = TRY(pcre2_pattern(pattern, where));
  const std::unique_ptr<pcre2_compile_context, void (*)(pcre2_compile_context*)> context(
      pcre2_compile_context_create(nullptr), pcre2_compile_context_free);
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  int error = 0;
  PCRE2_SIZE at = 0;
  Regex regex;
  regex.code_.reset(pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()),
                                  translated.size(), PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE,
                                  &error, &at, context.get()));
  if (regex.code_ == nullptr) {
    return fail(Code::kConfig, fmt::format("the pattern {}: {}", pattern, message_of(error)),
                where);
  }
  regex.jit_ =
      pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE | PCRE2_JIT_PARTIAL_HARD) == 0;
  regex.looks_back_ = looks_back_in(translated, regex.code_.get());
  return regex;
}

Status Regex::find_all(std::string_view text, RegexScratch& scratch,
                       std::vector<Match>& out) const {
  size_t open_at = 0;
  return find(text, 0, scratch, out, open_at);
}

Status Regex::find_certain(std::string_view text, RegexScratch& scratch, std::vector<Match>& out,
                           size_t& open_at) const {
  return find(text, PCRE2_PARTIAL_HARD, scratch, out, open_at);
}

Status Regex::find(std::string_view text, uint32_t flags, RegexScratch& scratch,
                   std::vector<Match>& out, size_t& open_at) const {
  open_at = text.size();
  scratch.prepare(text.size());
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data_);
  const auto match = jit_ ? pcre2_jit_match : pcre2_match;
  size_t at = 0;
  size_t last_end = std::string_view::npos;
  while (at <= text.size()) {
    const int found = match(code_.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK | flags,
                            scratch.data_, scratch.context_);
    if (found == PCRE2_ERROR_NOMATCH) return {};
    if (found == PCRE2_ERROR_PARTIAL) {
      open_at = bounds[0];
      return {};
    }
    if (found < 0) {
      return fail(Code::kBadData, fmt::format("splitting the text: {}", message_of(found)));
    }
    const size_t begin = bounds[0];
    const size_t end = bounds[1];
    if (begin == end && end == last_end) {
      at += at < text.size() ? rune_at(text, at).bytes : 1;
      continue;
    }
    out.push_back({static_cast<uint32_t>(begin), static_cast<uint32_t>(end)});
    at = last_end = end;
  }
  return {};
}

}  // namespace switchyard
