// The AVX2 row (with FMA and F16C): a vector is two registers.

#include <immintrin.h>

#include "runtime/kernels/kernel_rows.h"

namespace switchyard {
namespace {

struct Avx2 {
  static constexpr uint32_t kTileTokens = 5;
  static constexpr int kFmaChains = 6;
  static constexpr int blocks_at_once(int tokens) { return tokens == 1 ? 4 : tokens <= 3 ? 2 : 1; }

  __m256 low, high;

  static Avx2 zero() { return {_mm256_setzero_ps(), _mm256_setzero_ps()}; }
  static Avx2 set1(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
  static Avx2 load(const float* p) { return {_mm256_loadu_ps(p), _mm256_loadu_ps(p + 8)}; }
  static void store(float* p, Avx2 a) {
    _mm256_storeu_ps(p, a.low);
    _mm256_storeu_ps(p + 8, a.high);
  }

  // All ones in the lanes of `mask`, whose lowest 8 bits count.
  static __m256i spread(uint32_t mask) {
    const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
    return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask)), bits),
                              bits);
  }
  static Avx2 load_first(const float* p, uint32_t n) {
    if (n >= 16) return load(p);
    const uint32_t mask = kernel_body::first_lanes(n);
    return {_mm256_maskload_ps(p, spread(mask)), _mm256_maskload_ps(p + 8, spread(mask >> 8))};
  }
  static void store_first(float* p, Avx2 a, uint32_t n) {
    if (n >= 16) return store(p, a);
    const uint32_t mask = kernel_body::first_lanes(n);
    _mm256_maskstore_ps(p, spread(mask), a.low);
    _mm256_maskstore_ps(p + 8, spread(mask >> 8), a.high);
  }
  static Avx2 choose(uint32_t mask, Avx2 a, Avx2 b) {
    return {_mm256_blendv_ps(b.low, a.low, _mm256_castsi256_ps(spread(mask))),
            _mm256_blendv_ps(b.high, a.high, _mm256_castsi256_ps(spread(mask >> 8)))};
  }

  static Avx2 add(Avx2 a, Avx2 b) {
    return {_mm256_add_ps(a.low, b.low), _mm256_add_ps(a.high, b.high)};
  }
  static Avx2 sub(Avx2 a, Avx2 b) {
    return {_mm256_sub_ps(a.low, b.low), _mm256_sub_ps(a.high, b.high)};
  }
  static Avx2 mul(Avx2 a, Avx2 b) {
    return {_mm256_mul_ps(a.low, b.low), _mm256_mul_ps(a.high, b.high)};
  }
  static Avx2 div(Avx2 a, Avx2 b) {
    return {_mm256_div_ps(a.low, b.low), _mm256_div_ps(a.high, b.high)};
  }
  static Avx2 sqrt(Avx2 a) { return {_mm256_sqrt_ps(a.low), _mm256_sqrt_ps(a.high)}; }
  static Avx2 fma(Avx2 a, Avx2 b, Avx2 c) {
    return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
  }
  static Avx2 min(Avx2 a, Avx2 b) {
    return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
  }
  static Avx2 max(Avx2 a, Avx2 b) {
    return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
  }

  // 2^n of a = n + 1.5 · 2^23: its low bits are n.
  static __m256 power_of_two_half(__m256 a) {
    const __m256i biased = _mm256_add_epi32(_mm256_castps_si256(a), _mm256_set1_epi32(127));
    return _mm256_castsi256_ps(_mm256_slli_epi32(biased, 23));
  }
  static Avx2 power_of_two(Avx2 a) { return {power_of_two_half(a.low), power_of_two_half(a.high)}; }

  static __m256i load_bits(const std::byte* p) {
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p));
  }
  static Avx2 load_bfloat_even(const std::byte* p) {
    return {_mm256_castsi256_ps(_mm256_slli_epi32(load_bits(p), 16)),
            _mm256_castsi256_ps(_mm256_slli_epi32(load_bits(p + 32), 16))};
  }
  static Avx2 load_bfloat_odd(const std::byte* p) {
    const __m256i high = _mm256_set1_epi32(static_cast<int>(0xffff0000));
    return {_mm256_castsi256_ps(_mm256_and_si256(load_bits(p), high)),
            _mm256_castsi256_ps(_mm256_and_si256(load_bits(p + 32), high))};
  }
  static Avx2 load_half(const std::byte* p) {
    return {_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))),
            _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p + 16)))};
  }

  static void transpose(Avx2 (&a)[16]);
};

void transpose_eight(__m256 (&a)[8]) {
  __m256 b[8];
  for (int i = 0; i < 8; i += 4) {  // 4×4 inside each half register
    const __m256 t0 = _mm256_unpacklo_ps(a[i], a[i + 1]);
    const __m256 t1 = _mm256_unpackhi_ps(a[i], a[i + 1]);
    const __m256 t2 = _mm256_unpacklo_ps(a[i + 2], a[i + 3]);
    const __m256 t3 = _mm256_unpackhi_ps(a[i + 2], a[i + 3]);
    b[i] = _mm256_shuffle_ps(t0, t2, 0x44);
    b[i + 1] = _mm256_shuffle_ps(t0, t2, 0xee);
    b[i + 2] = _mm256_shuffle_ps(t1, t3, 0x44);
    b[i + 3] = _mm256_shuffle_ps(t1, t3, 0xee);
  }
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x20);
    a[i + 4] = _mm256_permute2f128_ps(b[i], b[i + 4], 0x31);
  }
}

void Avx2::transpose(Avx2 (&a)[16]) {
  __m256 corner[2][2][8];  // [upper or lower rows][left or right columns]
  for (int i = 0; i < 16; ++i) {
    corner[i / 8][0][i % 8] = a[i].low;
    corner[i / 8][1][i % 8] = a[i].high;
  }
  for (auto& row : corner) {
    for (auto& square : row) transpose_eight(square);
  }
  for (int i = 0; i < 16; ++i) {
    a[i].low = corner[0][i / 8][i % 8];
    a[i].high = corner[1][i / 8][i % 8];
  }
}

}  // namespace

constinit const Kernels kAvx2Kernels = kernel_row<Avx2>("avx2", avx2_supported);

}  // namespace switchyard
