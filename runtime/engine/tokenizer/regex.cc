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
  regex.jit_ = pcre2_jit_compile(regex.code_.get(), PCRE2_JIT_COMPLETE) == 0;
  return regex;
}

Status Regex::find_all(std::string_view text, RegexScratch& scratch,
                       std::vector<Match>& out) const {
  scratch.prepare(text.size());
  const auto* subject = reinterpret_cast<PCRE2_SPTR>(text.data());
  const PCRE2_SIZE* bounds = pcre2_get_ovector_pointer(scratch.data_);
  const auto match = jit_ ? pcre2_jit_match : pcre2_match;
  size_t at = 0;
  size_t last_end = std::string_view::npos;
  while (at <= text.size()) {
    const int found = match(code_.get(), subject, text.size(), at, PCRE2_NO_UTF_CHECK,
                            scratch.data_, scratch.context_);
    if (found == PCRE2_ERROR_NOMATCH) return {};
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
