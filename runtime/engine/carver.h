#pragma once

#include <cstddef>

#include "runtime/base/align.h"

namespace switchyard {

// One walk both measures and carves a workspace. Every array takes whole cache lines.
class Carver {
 public:
  // base == nullptr: measures only.
  explicit Carver(std::byte* base) : base_(base) {}

  template <class T>
  T* take(size_t count) {
    const size_t at = bytes_;
    bytes_ += round_up(count * sizeof(T), 64);
    return base_ != nullptr ? reinterpret_cast<T*>(base_ + at) : nullptr;
  }
  size_t bytes() const { return bytes_; }

 private:
  std::byte* base_;
  size_t bytes_ = 0;
};

}  // namespace switchyard
