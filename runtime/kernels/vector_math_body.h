#pragma once

// Bodies of the kernel table, written once against a vector V of 16 floats. Every cpu_*.cc gives
// its own V in an anonymous namespace, so that instantiations stay inside its translation unit:
// nothing here may use a function (of std or ours) that another unit could share.
//
// V has static functions: zero, set1, load, load_first (n lanes, zeros beyond), store, store_first,
// add, sub, mul, div, sqrt, fma(a, b, c) = a·b + c rounded once, min = a < b ? a : b, max = a > b ?
// a : b (so a NaN in b stays), choose(mask, a, b) taking lane i of a where bit i is set,
// power_of_two (below), transpose of 16 vectors, load_half (16 F16 numbers),
// load_bfloat_even and load_bfloat_odd (the low and the high halves of 16 words), and the constants
// kTileTokens, kFmaChains and blocks_at_once(tokens). All are lane by lane, correctly rounded and
// keep denormals.

#include <cstdint>

namespace switchyard::kernel_body {

inline constexpr uint32_t kAllLanes = 0xffff;

// Lanes below n.
static constexpr uint32_t first_lanes(uint32_t n) { return n >= 16 ? kAllLanes : (1u << n) - 1; }

// The sum of 16 lanes: i with i + 8, then i + 4, i + 2, i + 1.
template <class V>
static inline float join(V v) {
  float lanes[16];
  V::store(lanes, v);
  for (uint32_t half = 8; half > 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) lanes[i] = lanes[i] + lanes[i + half];
  }
  return lanes[0];
}

// Lane j is the join of vectors[j].
template <class V>
static inline V join_each(V (&vectors)[16]) {
  V::transpose(vectors);
  for (uint32_t half = 8; half > 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) vectors[i] = V::add(vectors[i], vectors[i + half]);
  }
  return vectors[0];
}

template <class V>
static inline float largest(V v) {
  float lanes[16];
  V::store(lanes, v);
  for (uint32_t half = 8; half > 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) {
      lanes[i] = lanes[i] > lanes[i + half] ? lanes[i] : lanes[i + half];
    }
  }
  return lanes[0];
}

template <class V>
static inline float first_lane(V v) {
  float lanes[16];
  V::store(lanes, v);
  return lanes[0];
}

// e^x within one unit in the last place: x = n·ln 2 + r, a polynomial of degree 7 in r, and 2^n as
// two factors, so that denormal results are rounded once. 0 at −inf, inf above 88.73, NaN stays.
template <class V>
static inline V exp(V x) {
  const V magic = V::set1(0x1.8p23f);  // adding it leaves an integer in the low bits
  x = V::max(V::set1(-104.0f), V::min(V::set1(89.0f), x));
  const V n = V::sub(V::fma(x, V::set1(0x1.715476p+0f), magic), magic);
  V r = V::fma(n, V::set1(-0x1.62e430p-1f), x);
  r = V::fma(n, V::set1(0x1.05c610p-29f), r);
  V p = V::set1(0x1.a1258cp-13f);
  p = V::fma(p, r, V::set1(0x1.6d43d2p-10f));
  p = V::fma(p, r, V::set1(0x1.1110e0p-7f));
  p = V::fma(p, r, V::set1(0x1.5554e8p-5f));
  p = V::fma(p, r, V::set1(0x1.555556p-3f));
  p = V::fma(p, r, V::set1(0.5f));
  p = V::fma(V::mul(p, r), r, r);
  p = V::add(p, V::set1(1.0f));
  const V half_biased = V::fma(n, V::set1(0.5f), magic);
  const V half = V::sub(half_biased, magic);
  const V rest_biased = V::add(V::sub(n, half), magic);
  return V::mul(V::mul(p, V::power_of_two(half_biased)), V::power_of_two(rest_biased));
}

template <class V>
static inline V exp_denominator(V x) {
  return V::add(V::set1(1.0f), exp(V::sub(V::zero(), x)));
}

// 1 / (1 + e^−x)
template <class V>
static inline V sigmoid(V x) {
  return V::div(V::set1(1.0f), exp_denominator(x));
}

// x / (1 + e^−x): one division. NaN at −inf.
template <class V>
static inline V silu(V x) {
  return V::div(x, exp_denominator(x));
}

}  // namespace switchyard::kernel_body
