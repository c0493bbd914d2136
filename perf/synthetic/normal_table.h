#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/dtype.h"

namespace switchyard {

// Normally distributed weights as fast as memory takes them: 65536 equally likely quantiles of the
// distribution, in the storage type, and 16 random bits an element. Immutable.
class NormalTable {
 public:
  NormalTable(DType dtype, double mean, double deviation);

  // Fills whole elements. The same `seed` gives the same bytes, on every machine.
  void fill(uint64_t seed, std::span<std::byte> out) const;

 private:
  template <class Element>
  void fill_with(const std::vector<Element>& table, uint64_t seed, std::span<std::byte> out) const;

  std::vector<uint16_t> half_;   // BF16 and F16
  std::vector<uint32_t> whole_;  // F32
};

// The nearest value of a 16-bit type, ties to even. |value| < 65504.
uint16_t to_bf16(float value);
uint16_t to_f16(float value);

}  // namespace switchyard
