#include "runtime/device/slab.h"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>

#include "runtime/base/align.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr size_t kHugePageBytes = size_t{2} << 20;

}  // namespace

Result<Slab> Slab::allocate(size_t bytes, const char* what) {
  Slab slab;
  if (bytes == 0) return slab;
  // Small slabs stay on small pages: a huge one would be resident as a whole at its first touch.
  const bool huge = bytes >= 4 * kHugePageBytes;
  const size_t unit = huge ? kHugePageBytes : kPageBytes;
  const size_t length = round_up(bytes, unit);
  const size_t reserved = huge ? length + kHugePageBytes : length;
  void* mapped = ::mmap(nullptr, reserved, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (mapped == MAP_FAILED) {
    return fail(Code::kNoMemory, fmt::format("no memory for {} ({})", what, format_size(bytes)), {},
                "lower --memory");
  }
  auto* begin = static_cast<std::byte*>(mapped);
  const auto address = reinterpret_cast<uintptr_t>(begin);
  auto* aligned = begin + (round_up(address, unit) - address);
  if (aligned != begin) ::munmap(begin, static_cast<size_t>(aligned - begin));
  const size_t tail = static_cast<size_t>(begin + reserved - (aligned + length));
  if (tail != 0) ::munmap(aligned + length, tail);
  // Best effort on both: the results do not depend on the page size.
  (void)::madvise(aligned, length, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
  slab.data_ = aligned;
  slab.bytes_ = length;
  return slab;
}

void Slab::populate(size_t bytes) const {
  if (bytes != 0) (void)::madvise(data_, round_up(bytes, kPageBytes), MADV_POPULATE_WRITE);
}

void Slab::touch() const {
  for (size_t at = 0; at < bytes_; at += kHugePageBytes) {
    (void)*static_cast<const volatile std::byte*>(data_ + at);
  }
}

Slab::~Slab() {
  if (data_ != nullptr) ::munmap(data_, bytes_);
}

}  // namespace switchyard
