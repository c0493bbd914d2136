#pragma once

#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <span>
#include <string_view>

#include "runtime/base/align.h"

namespace switchyard {

// Page-aligned memory, as slots have it.
class Slab {
 public:
  explicit Slab(size_t pages)
      : memory_(static_cast<std::byte*>(std::aligned_alloc(kPageBytes, pages * kPageBytes))),
        bytes_(pages * kPageBytes) {
    if (!memory_) throw std::bad_alloc();
    std::memset(memory_.get(), 0, bytes_);
  }
  std::span<std::byte> span() const { return {memory_.get(), bytes_}; }
  std::span<std::byte> pages(size_t first, size_t count) const {
    return span().subspan(first * kPageBytes, count * kPageBytes);
  }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };
  std::unique_ptr<std::byte, Free> memory_;
  size_t bytes_;
};

inline std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace switchyard
