// The AVX-512 row: a vector is one register.

#include <immintrin.h>

#include "runtime/kernels/kernel_rows.h"

namespace switchyard {
namespace {

struct Avx512 {
  static constexpr uint32_t kTileTokens = 13;
  static constexpr int kFmaChains = 16;
  static constexpr int blocks_at_once(int tokens) { return tokens <= 6 ? 4 : 2; }

  __m512 v;

  static Avx512 zero() { return {_mm512_setzero_ps()}; }
  static Avx512 set1(float x) { return {_mm512_set1_ps(x)}; }
  static Avx512 load(const float* p) { return {_mm512_loadu_ps(p)}; }
  static void store(float* p, Avx512 a) { _mm512_storeu_ps(p, a.v); }

  static __mmask16 first(uint32_t n) { return static_cast<__mmask16>(kernel_body::first_lanes(n)); }
  static Avx512 load_first(const float* p, uint32_t n) {
    return {_mm512_maskz_loadu_ps(first(n), p)};
  }
  static void store_first(float* p, Avx512 a, uint32_t n) {
    _mm512_mask_storeu_ps(p, first(n), a.v);
  }
  static Avx512 choose(uint32_t mask, Avx512 a, Avx512 b) {
    return {_mm512_mask_blend_ps(static_cast<__mmask16>(mask), b.v, a.v)};
  }

  static Avx512 add(Avx512 a, Avx512 b) { return {_mm512_add_ps(a.v, b.v)}; }
  static Avx512 sub(Avx512 a, Avx512 b) { return {_mm512_sub_ps(a.v, b.v)}; }
  static Avx512 mul(Avx512 a, Avx512 b) { return {_mm512_mul_ps(a.v, b.v)}; }
  static Avx512 div(Avx512 a, Avx512 b) { return {_mm512_div_ps(a.v, b.v)}; }
  static Avx512 sqrt(Avx512 a) { return {_mm512_sqrt_ps(a.v)}; }
  static Avx512 fma(Avx512 a, Avx512 b, Avx512 c) { return {_mm512_fmadd_ps(a.v, b.v, c.v)}; }
  static Avx512 min(Avx512 a, Avx512 b) { return {_mm512_min_ps(a.v, b.v)}; }
  static Avx512 max(Avx512 a, Avx512 b) { return {_mm512_max_ps(a.v, b.v)}; }

  // 2^n of a = n + 1.5 · 2^23: its low bits are n.
  static Avx512 power_of_two(Avx512 a) {
    const __m512i biased = _mm512_add_epi32(_mm512_castps_si512(a.v), _mm512_set1_epi32(127));
    return {_mm512_castsi512_ps(_mm512_slli_epi32(biased, 23))};
  }

  static Avx512 load_bfloat_even(const std::byte* p) {
    return {_mm512_castsi512_ps(_mm512_slli_epi32(_mm512_loadu_si512(p), 16))};
  }
  static Avx512 load_bfloat_odd(const std::byte* p) {
    const __m512i high = _mm512_set1_epi32(static_cast<int>(0xffff0000));
    return {_mm512_castsi512_ps(_mm512_and_si512(_mm512_loadu_si512(p), high))};
  }
  static Avx512 load_half(const std::byte* p) {
    return {_mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)))};
  }

  static void transpose(Avx512 (&a)[16]);
};

void Avx512::transpose(Avx512 (&a)[16]) {
  __m512 b[16];
  for (int i = 0; i < 16; i += 4) {  // 4×4 inside each quarter register
    const __m512 t0 = _mm512_unpacklo_ps(a[i].v, a[i + 1].v);
    const __m512 t1 = _mm512_unpackhi_ps(a[i].v, a[i + 1].v);
    const __m512 t2 = _mm512_unpacklo_ps(a[i + 2].v, a[i + 3].v);
    const __m512 t3 = _mm512_unpackhi_ps(a[i + 2].v, a[i + 3].v);
    b[i] = _mm512_shuffle_ps(t0, t2, 0x44);
    b[i + 1] = _mm512_shuffle_ps(t0, t2, 0xee);
    b[i + 2] = _mm512_shuffle_ps(t1, t3, 0x44);
    b[i + 3] = _mm512_shuffle_ps(t1, t3, 0xee);
  }
  for (int i = 0; i < 4; ++i) {  // quarters among registers
    const __m512 low01 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0x44);
    const __m512 high01 = _mm512_shuffle_f32x4(b[i], b[i + 4], 0xee);
    const __m512 low23 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0x44);
    const __m512 high23 = _mm512_shuffle_f32x4(b[i + 8], b[i + 12], 0xee);
    a[i].v = _mm512_shuffle_f32x4(low01, low23, 0x88);
    a[i + 4].v = _mm512_shuffle_f32x4(low01, low23, 0xdd);
    a[i + 8].v = _mm512_shuffle_f32x4(high01, high23, 0x88);
    a[i + 12].v = _mm512_shuffle_f32x4(high01, high23, 0xdd);
  }
}

}  // namespace

constinit const Kernels kAvx512Kernels = kernel_row<Avx512>("avx512", avx512_supported);

}  // namespace switchyard
