#include "comm/message_sum.h"

#include <fmt/format.h>

#include <cstring>

#include "comm/world_error.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace switchyard {

void put_sum(std::span<float> floats) {
  if (floats.empty()) return;
  CHECK(floats.size() >= kSumFloats);
  const size_t count = floats.size() - kSumFloats;
  const uint64_t sum = hash_bytes(std::as_bytes(floats.first(count)));
  std::memcpy(floats.data() + count, &sum, sizeof sum);
}

Status check_sum(std::span<const float> floats, uint32_t from, const Awaited& awaited) {
  if (floats.empty()) return {};
  CHECK(floats.size() >= kSumFloats);
  const size_t count = floats.size() - kSumFloats;
  uint64_t sum = 0;
  std::memcpy(&sum, floats.data() + count, sizeof sum);
  return check_sum(std::as_bytes(floats.first(count)), sum, from, awaited);
}

Status check_sum(std::span<const std::byte> bytes, uint64_t sum, uint32_t from,
                 const Awaited& awaited) {
  if (hash_bytes(bytes) == sum) return {};
  return fail(Code::kBadData, fmt::format("{} came damaged", to_text(awaited)),
              fmt::format("rank {}", from), "the network or a machine's memory is faulty");
}

}  // namespace switchyard
