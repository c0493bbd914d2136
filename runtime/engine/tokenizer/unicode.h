#pragma once

// Code points and the character classes that tokenizer.json speaks of. Pure functions; text given
// to them is valid UTF-8 unless said otherwise.

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

// U+FFFD, for what is no text.
inline constexpr std::string_view kReplacement = "\xef\xbf\xbd";

struct Rune {
  char32_t value = 0;
  uint32_t bytes = 0;
};

// The code point that starts at byte `at` < text.size().
Rune rune_at(std::string_view text, size_t at);

// The code point that ends at byte `end` > 0.
Rune rune_before(std::string_view text, size_t end);

void append_utf8(std::string& out, char32_t rune);

// The only code point of `text`, or 0 when it does not hold exactly one.
char32_t only_rune(std::string_view text);

constexpr bool is_ascii_letter(char c) { return (c | 0x20) >= 'a' && (c | 0x20) <= 'z'; }

bool is_white_space(char32_t rune);  // Unicode property White_Space
bool is_numeric(char32_t rune);      // categories Nd, Nl, No
bool is_punctuation(char32_t rune);  // ASCII punctuation and symbols, categories P*
bool is_word(char32_t rune);         // what \w means with Unicode: UTS 18 annex C

// Turns any bytes into UTF-8: each maximal part of an ill-formed sequence becomes U+FFFD, as the
// Unicode Standard recommends (section 3.9). Bytes may come in pieces cut anywhere.
class Utf8Repair {
 public:
  // Appends to `out` only whole characters; an unfinished one waits for the next call.
  void push(std::string_view bytes, std::string& out);
  void finish(std::string& out);

 private:
  void start(unsigned char byte, std::string& out);

  std::string pending_;
  int missing_ = 0;           // continuation bytes that the pending character still needs
  unsigned char low_ = 0x80;  // bounds of the next continuation byte
  unsigned char high_ = 0xbf;
};

}  // namespace switchyard
