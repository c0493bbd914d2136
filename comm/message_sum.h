#pragma once

// Checksums at the end of messages of floats: a World does not notice a byte that changed on its
// way, and nothing wrong is to be computed on.

#include <cstddef>
#include <cstdint>
#include <span>

#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

// Room for a checksum, behind what it is of.
inline constexpr size_t kSumFloats = sizeof(uint64_t) / sizeof(float);

// `floats` and their checksum; of nothing there is none.
constexpr size_t with_sum(size_t floats) { return floats == 0 ? 0 : floats + kSumFloats; }

// Fills in the last kSumFloats of `floats`, unless that is empty.
void put_sum(std::span<float> floats);

// kBadData naming the rank and what came when put_sum() did not give `floats`.
Status check_sum(std::span<const float> floats, uint32_t from, const Awaited& awaited);
// The same for a checksum that came by itself.
Status check_sum(std::span<const std::byte> bytes, uint64_t sum, uint32_t from,
                 const Awaited& awaited);

}  // namespace switchyard
