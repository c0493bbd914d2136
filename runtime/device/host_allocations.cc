#include "runtime/device/host_allocations.h"

#include <fmt/format.h>

#include <algorithm>
#include <string>
#include <utility>

#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/units.h"

namespace switchyard {

Result<std::span<std::byte>> HostAllocations::allocate(std::string_view device, size_t bytes,
                                                       const char* what) {
  CHECK(bytes > 0);
  if (bytes > capacity_bytes_ - used_bytes_) {
    return fail(
        Code::kNoMemory,
        fmt::format("no room for {} ({}): {} of {} are left", what, format_size(bytes),
                    format_size(capacity_bytes_ - used_bytes_), format_size(capacity_bytes_)),
        std::string(device));
  }
  Slab slab = TRY(Slab::allocate(bytes, what));
  // All pages now, so that what stands for a device's memory can be told from the process's own.
  slab.populate(slab.size());
  for (size_t at = 0; at < slab.size(); at += kPageBytes) slab.data()[at] = std::byte{0};
  allocations_.push_back({std::move(slab), bytes});
  used_bytes_ += bytes;
  bytes_now_ += allocations_.back().slab.size();
  bytes_peak_ = std::max(bytes_peak_, bytes_now_);
  return allocations_.back().slab.span().first(bytes);
}

void HostAllocations::release(std::span<std::byte> bytes) {
  const auto at = std::ranges::find_if(allocations_, [&](const Allocation& allocation) {
    return allocation.slab.data() == bytes.data();
  });
  CHECK(at != allocations_.end());
  used_bytes_ -= at->bytes;
  bytes_now_ -= at->slab.size();
  allocations_.erase(at);
}

}  // namespace switchyard
