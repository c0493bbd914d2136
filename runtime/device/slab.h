#pragma once

#include <cstddef>
#include <span>
#include <utility>

#include "runtime/base/result.h"

namespace switchyard {

// Page-aligned zeroed memory straight from the system, on huge pages where it gives them. A page
// becomes resident at its first touch.
class Slab {
 public:
  Slab() = default;
  // kNoMemory when the system refuses. `what` says in the error what the memory was for.
  static Result<Slab> allocate(size_t bytes, const char* what);
  Slab(Slab&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), bytes_(std::exchange(other.bytes_, 0)) {}
  Slab& operator=(Slab&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~Slab();

  // Makes the pages of the first `bytes` resident now rather than at their first use. Best effort.
  void populate(size_t bytes) const;
  // Reads from every huge page. What a virtual machine did not use for seconds its host may have
  // to map anew, which takes 150 us a page: a first prompt would pay for it.
  void touch() const;

  std::byte* data() const { return data_; }
  size_t size() const { return bytes_; }
  std::span<std::byte> span() const { return {data_, bytes_}; }

 private:
  std::byte* data_ = nullptr;
  size_t bytes_ = 0;
};

}  // namespace switchyard
