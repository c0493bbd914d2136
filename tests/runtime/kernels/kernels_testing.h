#pragma once

// What the kernel tests share: random inputs and comparison bit for bit.

#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <vector>

#include "runtime/base/prng.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {

inline std::vector<const Kernels*> supported_kernels() {
  std::vector<const Kernels*> rows;
  for (const Kernels& kernels : all_kernels()) {
    if (kernels.supported()) rows.push_back(&kernels);
  }
  return rows;
}

inline const Kernels& scalar_kernels() { return all_kernels().back(); }

inline float random_float(Prng& prng, float magnitude = 1) {
  return static_cast<float>((prng.uniform() * 2 - 1) * magnitude);
}

inline std::vector<float> random_floats(Prng& prng, size_t n, float magnitude = 1) {
  std::vector<float> values(n);
  for (float& value : values) value = random_float(prng, magnitude);
  return values;
}

// Finite stored elements of about unit size, a few of them denormal or zero.
inline std::vector<std::byte> random_elements(Prng& prng, DType dtype, size_t n) {
  std::vector<std::byte> bytes(n * dtype_bytes(dtype));
  for (size_t i = 0; i < n; ++i) {
    const uint64_t kind = prng.below(32);
    const float value = kind == 0 ? 0 : random_float(prng);
    uint32_t bits = std::bit_cast<uint32_t>(value);
    if (kind == 1) bits &= 0x807fffff;
    if (dtype == DType::kF32) {
      std::memcpy(&bytes[i * 4], &bits, 4);
      continue;
    }
    uint16_t half = static_cast<uint16_t>(bits >> 16);
    if (dtype == DType::kF16) {
      half = static_cast<uint16_t>(prng.next());
      if ((half & 0x7c00) == 0x7c00) half &= 0x83ff;
      if ((half & 0x7c00) > 0x4000) half &= 0xbfff;
    }
    std::memcpy(&bytes[i * 2], &half, 2);
  }
  return bytes;
}

// Equal bits, or both NaN.
inline bool same_bits(float a, float b) {
  return (std::isnan(a) && std::isnan(b)) ||
         std::bit_cast<uint32_t>(a) == std::bit_cast<uint32_t>(b);
}

inline void expect_same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  ASSERT_EQ(a.size(), b.size());
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(same_bits(a[i], b[i])) << "element " << i << ": " << a[i] << " and " << b[i];
  }
}

}  // namespace switchyard
