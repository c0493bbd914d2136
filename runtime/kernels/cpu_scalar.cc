// The scalar row, the definition of every result: a vector is an array. Built for any x86-64, where
// the fused multiply-add is the C library's, which rounds once with or without the instruction.

#include "runtime/kernels/kernel_rows.h"

namespace switchyard {
namespace {

uint32_t bits_of(float x) {
  uint32_t bits;
  __builtin_memcpy(&bits, &x, sizeof bits);
  return bits;
}

float from_bits(uint32_t bits) {
  float x;
  __builtin_memcpy(&x, &bits, sizeof x);
  return x;
}

float from_half(uint16_t half) {
  const uint32_t magnitude = half & 0x7fffu;
  const uint32_t sign = (half & 0x8000u) << 16;
  if (magnitude >= 0x7c00) return from_bits(sign | 0x7f800000u | magnitude << 13);
  return from_bits(sign | bits_of(from_bits(magnitude << 13) * 0x1p112f));
}

struct Scalar {
  static constexpr uint32_t kTileTokens = 4;
  static constexpr int kFmaChains = 1;
  static constexpr int blocks_at_once(int) { return 1; }

  float v[16];

  template <class F>
  static Scalar each(const F& f) {
    Scalar result;
    for (uint32_t i = 0; i < 16; ++i) result.v[i] = f(i);
    return result;
  }

  static Scalar zero() { return set1(0); }
  static Scalar set1(float x) {
    return each([x](uint32_t) { return x; });
  }
  static Scalar load(const float* p) { return load_first(p, 16); }
  static void store(float* p, const Scalar& a) { store_first(p, a, 16); }
  static Scalar load_first(const float* p, uint32_t n) {
    Scalar result = zero();
    __builtin_memcpy(result.v, p, (n < 16 ? n : 16) * sizeof(float));
    return result;
  }
  static void store_first(float* p, const Scalar& a, uint32_t n) {
    __builtin_memcpy(p, a.v, (n < 16 ? n : 16) * sizeof(float));
  }
  static Scalar choose(uint32_t mask, const Scalar& a, const Scalar& b) {
    return each([&](uint32_t i) { return (mask >> i & 1) != 0 ? a.v[i] : b.v[i]; });
  }

  static Scalar add(const Scalar& a, const Scalar& b) {
    return each([&](uint32_t i) { return a.v[i] + b.v[i]; });
  }
  static Scalar sub(const Scalar& a, const Scalar& b) {
    return each([&](uint32_t i) { return a.v[i] - b.v[i]; });
  }
  static Scalar mul(const Scalar& a, const Scalar& b) {
    return each([&](uint32_t i) { return a.v[i] * b.v[i]; });
  }
  static Scalar div(const Scalar& a, const Scalar& b) {
    return each([&](uint32_t i) { return a.v[i] / b.v[i]; });
  }
  static Scalar sqrt(const Scalar& a) {
    return each([&](uint32_t i) { return __builtin_sqrtf(a.v[i]); });
  }
  static Scalar fma(const Scalar& a, const Scalar& b, const Scalar& c) {
    return each([&](uint32_t i) { return __builtin_fmaf(a.v[i], b.v[i], c.v[i]); });
  }
  static Scalar min(const Scalar& a, const Scalar& b) {
    return each([&](uint32_t i) { return a.v[i] < b.v[i] ? a.v[i] : b.v[i]; });
  }
  static Scalar max(const Scalar& a, const Scalar& b) {
    return each([&](uint32_t i) { return a.v[i] > b.v[i] ? a.v[i] : b.v[i]; });
  }

  // 2^n of a = n + 1.5 · 2^23: its low bits are n.
  static Scalar power_of_two(const Scalar& a) {
    return each([&](uint32_t i) { return from_bits((bits_of(a.v[i]) + 127u) << 23); });
  }

  static Scalar load_bfloat_even(const std::byte* p) {
    uint32_t pairs[16];
    __builtin_memcpy(pairs, p, sizeof pairs);
    return each([&](uint32_t i) { return from_bits(pairs[i] << 16); });
  }
  static Scalar load_bfloat_odd(const std::byte* p) {
    uint32_t pairs[16];
    __builtin_memcpy(pairs, p, sizeof pairs);
    return each([&](uint32_t i) { return from_bits(pairs[i] & 0xffff0000u); });
  }
  static Scalar load_half(const std::byte* p) {
    uint16_t halves[16];
    __builtin_memcpy(halves, p, sizeof halves);
    return each([&](uint32_t i) { return from_half(halves[i]); });
  }

  static void transpose(Scalar (&a)[16]) {
    for (uint32_t i = 0; i < 16; ++i) {
      for (uint32_t j = 0; j < i; ++j) {
        const float above = a[j].v[i];
        a[j].v[i] = a[i].v[j];
        a[i].v[j] = above;
      }
    }
  }
};

}  // namespace

constinit const Kernels kScalarKernels = kernel_row<Scalar>("scalar", scalar_supported);

}  // namespace switchyard
