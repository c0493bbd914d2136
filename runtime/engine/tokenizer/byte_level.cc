#include "runtime/engine/tokenizer/byte_level.h"

#include <array>

#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

constexpr char32_t kFirstStandIn = 0x100;
constexpr char32_t kRunesEnd = 0x144;

constexpr bool stands_for_itself(int byte) {
  return (byte >= '!' && byte <= '~') || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
}

struct Tables {
  std::array<char32_t, 256> rune_of_byte{};
  std::array<int16_t, kRunesEnd> byte_of_rune{};  // −1: none
};

constexpr Tables make_tables() {
  Tables tables;
  tables.byte_of_rune.fill(-1);
  char32_t stand_in = kFirstStandIn;
  for (int byte = 0; byte < 256; ++byte) {
    const char32_t rune = stands_for_itself(byte) ? static_cast<char32_t>(byte) : stand_in++;
    tables.rune_of_byte[byte] = rune;
    tables.byte_of_rune[rune] = static_cast<int16_t>(byte);
  }
  return tables;
}

constexpr Tables kTables = make_tables();

}  // namespace

void append_byte_chars(std::string_view bytes, std::string& out) {
  for (const char c : bytes) append_utf8(out, kTables.rune_of_byte[static_cast<unsigned char>(c)]);
}

void append_byte_values(std::string_view token, std::string& out) {
  const size_t start = out.size();
  for (size_t at = 0; at < token.size();) {
    const Rune rune = rune_at(token, at);
    const int byte = rune.value < kRunesEnd ? kTables.byte_of_rune[rune.value] : -1;
    if (byte < 0) {
      out.resize(start);
      out += token;
      return;
    }
    out.push_back(static_cast<char>(byte));
    at += rune.bytes;
  }
}

}  // namespace switchyard
