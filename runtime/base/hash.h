#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

// XXH3, 64 bits: the checksum of every stored byte and of logits.
uint64_t hash_bytes(std::span<const std::byte> bytes);

// The same hash over bytes that come in pieces.
class Hasher {
 public:
  Hasher();
  ~Hasher();
  Hasher(Hasher&&) noexcept;
  Hasher& operator=(Hasher&&) noexcept;
  void update(std::span<const std::byte> bytes);
  uint64_t digest() const;

  // Where it stands, in some hundred bytes, for another process to go on from. Only for the very
  // version of xxHash that wrote it: kConfig when the library is not the one of the headers.
  Result<std::string> save() const;
  // kBadData for what no hasher saved; kUsage for one of another version.
  static Result<Hasher> of_saved(std::string_view bytes);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// 16 lower-case hexadecimal digits.
std::string hash_hex(uint64_t hash);

}  // namespace switchyard
