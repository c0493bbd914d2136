#include "runtime/engine/tokenizer/unicode.h"

#include <utf8proc.h>

namespace switchyard {
namespace {

utf8proc_category_t category(char32_t rune) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(rune));
}

bool within(char32_t rune, char32_t first, char32_t last) { return rune >= first && rune <= last; }

}  // namespace

Rune rune_at(std::string_view text, size_t at) {
  const auto byte = [&](size_t i) -> char32_t { return static_cast<unsigned char>(text[at + i]); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xe0) return {(lead & 0x1f) << 6 | (byte(1) & 0x3f), 2};
  if (lead < 0xf0) return {(lead & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f),
          4};
}

Rune rune_before(std::string_view text, size_t end) {
  size_t at = end - 1;
  while (at > 0 && (static_cast<unsigned char>(text[at]) & 0xc0) == 0x80) --at;
  return rune_at(text, at);
}

void append_utf8(std::string& out, char32_t rune) {
  const auto put = [&out](char32_t byte) { out.push_back(static_cast<char>(byte)); };
  if (rune < 0x80) {
    put(rune);
  } else if (rune < 0x800) {
    put(0xc0 | rune >> 6);
    put(0x80 | (rune & 0x3f));
  } else if (rune < 0x10000) {
    put(0xe0 | rune >> 12);
    put(0x80 | (rune >> 6 & 0x3f));
    put(0x80 | (rune & 0x3f));
  } else {
    put(0xf0 | rune >> 18);
    put(0x80 | (rune >> 12 & 0x3f));
    put(0x80 | (rune >> 6 & 0x3f));
    put(0x80 | (rune & 0x3f));
  }
}

char32_t only_rune(std::string_view text) {
  if (text.empty()) return 0;
  const Rune rune = rune_at(text, 0);
  return rune.bytes == text.size() ? rune.value : 0;
}

bool is_white_space(char32_t rune) {
  if (rune < 0x80) return rune == ' ' || within(rune, 0x09, 0x0d);
  return rune == 0x85 || rune == 0xa0 || rune == 0x1680 || within(rune, 0x2000, 0x200a) ||
         rune == 0x2028 || rune == 0x2029 || rune == 0x202f || rune == 0x205f || rune == 0x3000;
}

bool is_numeric(char32_t rune) {
  if (rune < 0x80) return within(rune, '0', '9');
  const utf8proc_category_t kind = category(rune);
  return kind == UTF8PROC_CATEGORY_ND || kind == UTF8PROC_CATEGORY_NL ||
         kind == UTF8PROC_CATEGORY_NO;
}

bool is_punctuation(char32_t rune) {
  if (rune < 0x80) {
    return within(rune, '!', '/') || within(rune, ':', '@') || within(rune, '[', '`') ||
           within(rune, '{', '~');
  }
  const utf8proc_category_t kind = category(rune);
  return kind >= UTF8PROC_CATEGORY_PC && kind <= UTF8PROC_CATEGORY_PO;
}

bool is_word(char32_t rune) {
  const utf8proc_category_t kind = category(rune);
  const bool letter_mark_digit = kind >= UTF8PROC_CATEGORY_LU && kind <= UTF8PROC_CATEGORY_NL;
  if (letter_mark_digit || kind == UTF8PROC_CATEGORY_PC) return true;
  const bool circled_letter = within(rune, 0x24b6, 0x24e9) || within(rune, 0x1f130, 0x1f149) ||
                              within(rune, 0x1f150, 0x1f169) || within(rune, 0x1f170, 0x1f189);
  const bool join_control = rune == 0x200c || rune == 0x200d;
  return circled_letter || join_control;
}

void Utf8Repair::push(std::string_view bytes, std::string& out) {
  for (const char c : bytes) {
    const auto byte = static_cast<unsigned char>(c);
    if (missing_ > 0 && (byte < low_ || byte > high_)) finish(out);
    if (missing_ == 0) {
      start(byte, out);
      continue;
    }
    pending_.push_back(c);
    low_ = 0x80;
    high_ = 0xbf;
    if (--missing_ == 0) {
      out += pending_;
      pending_.clear();
    }
  }
}

void Utf8Repair::start(unsigned char byte, std::string& out) {
  if (byte < 0x80) {
    out.push_back(static_cast<char>(byte));
    return;
  }
  if (byte < 0xc2 || byte > 0xf4) {
    out += kReplacement;
    return;
  }
  missing_ = byte < 0xe0 ? 1 : byte < 0xf0 ? 2 : 3;
  low_ = byte == 0xe0 ? 0xa0 : byte == 0xf0 ? 0x90 : 0x80;   // no overlong forms
  high_ = byte == 0xed ? 0x9f : byte == 0xf4 ? 0x8f : 0xbf;  // no surrogates, none past U+10FFFF
  pending_.assign(1, static_cast<char>(byte));
}

void Utf8Repair::finish(std::string& out) {
  if (missing_ == 0) return;
  out += kReplacement;
  pending_.clear();
  missing_ = 0;
}

}  // namespace switchyard
