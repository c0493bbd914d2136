#pragma once

// Whole numbers and texts one after the other in a string of bytes: the common ground of this
// program's own file formats. Numbers are little-endian.

#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>

#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace switchyard {

inline uint64_t hash_text(std::string_view text) {
  return hash_bytes(std::as_bytes(std::span(text)));
}

template <class T>
void put(std::string& out, T value) {
  static_assert(std::is_unsigned_v<T>);
  for (size_t i = 0; i < sizeof(T); ++i) out += static_cast<char>(value >> (8 * i) & 0xff);
}

// Its length in 16 bits, then itself; a longer text is a bug.
inline void put_text(std::string& out, std::string_view text) {
  CHECK_THAT(text.size() <= std::numeric_limits<uint16_t>::max(), "{} bytes", text.size());
  put(out, static_cast<uint16_t>(text.size()));
  out += text;
}

// Takes values off the front of what was put together so; after a value that is not whole, ok() is
// false and all further ones are zero.
class ByteCursor {
 public:
  explicit ByteCursor(std::string_view bytes) : bytes_(bytes) {}
  bool ok() const { return ok_; }
  bool at_end() const { return ok_ && bytes_.empty(); }
  size_t bytes_left() const { return bytes_.size(); }

  std::string_view take(size_t count) {
    ok_ = ok_ && count <= bytes_.size();
    if (!ok_) return {};
    const std::string_view taken = bytes_.substr(0, count);
    bytes_.remove_prefix(count);
    return taken;
  }
  template <class T>
  T number() {
    T value = 0;
    const std::string_view taken = take(sizeof(T));
    for (size_t i = taken.size(); i-- > 0;) {
      value = static_cast<T>(uint64_t{value} << 8 | static_cast<unsigned char>(taken[i]));
    }
    return value;
  }
  std::string_view text() { return take(number<uint16_t>()); }

 private:
  std::string_view bytes_;
  bool ok_ = true;
};

}  // namespace switchyard
