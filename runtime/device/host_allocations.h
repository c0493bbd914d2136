#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "runtime/device/device.h"
#include "runtime/device/slab.h"

namespace switchyard {

// Host memory that is handed out as a device's, up to a capacity. One thread.
class HostAllocations {
 public:
  explicit HostAllocations(uint64_t capacity_bytes) : capacity_bytes_(capacity_bytes) {}

  uint64_t capacity_bytes() const { return capacity_bytes_; }
  // kNoMemory naming `device` and what is left of it, or the system's refusal.
  Result<std::span<std::byte>> allocate(std::string_view device, size_t bytes, const char* what);
  void release(std::span<std::byte> bytes);
  // The most there ever was at once, in whole pages, all of them resident.
  uint64_t bytes_peak() const { return bytes_peak_; }

 private:
  struct Allocation {
    Slab slab;
    size_t bytes = 0;
  };
  const uint64_t capacity_bytes_;
  uint64_t used_bytes_ = 0;
  uint64_t bytes_now_ = 0, bytes_peak_ = 0;  // in whole pages
  std::vector<Allocation> allocations_;
};

}  // namespace switchyard
