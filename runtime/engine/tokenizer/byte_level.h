#pragma once

// GPT-2's bijection between bytes and printable characters: printable Latin-1 bytes stand for
// themselves, the other 68 for U+0100 … U+0143 in order.

#include <cstdint>
#include <string>
#include <string_view>

namespace switchyard {

// Appends the characters that stand for `bytes`.
void append_byte_chars(std::string_view bytes, std::string& out);

// Appends the bytes that the characters of `token` stand for; a token with any other character
// stands for its own bytes.
void append_byte_values(std::string_view token, std::string& out);

}  // namespace switchyard
