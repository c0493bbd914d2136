#pragma once

// What this processor can do at best: reading memory and multiplying, for the fractions reported.

#include <cstddef>
#include <cstdint>

#include "runtime/kernels/vector_math_body.h"

namespace switchyard::kernel_body {

inline constexpr size_t kLineBytes = 64;

template <class V, int Streams>
static float read_in_streams(const std::byte* data, size_t bytes) {
  const size_t stream_bytes = bytes / Streams;
  V sums[Streams];
  for (int s = 0; s < Streams; ++s) sums[s] = V::zero();
  for (size_t at = 0; at < stream_bytes; at += kLineBytes) {
    for (int s = 0; s < Streams; ++s) {
      const std::byte* line = data + s * stream_bytes + at;
      sums[s] = V::add(sums[s], V::load(reinterpret_cast<const float*>(line)));
    }
  }
  for (int s = 1; s < Streams; ++s) sums[0] = V::add(sums[0], sums[s]);
  return join(sums[0]);
}

template <class V, int Streams>
static float read_streams_up_to(const std::byte* data, size_t bytes, uint32_t streams) {
  if constexpr (Streams > 1) {
    if (streams < Streams) return read_streams_up_to<V, Streams - 1>(data, bytes, streams);
  }
  return read_in_streams<V, Streams>(data, bytes);
}

template <class V>
static float read_streams(const std::byte* data, size_t bytes, uint32_t streams) {
  return read_streams_up_to<V, 8>(data, bytes, streams);
}

template <class V>
static double fma_rounds(uint64_t rounds, float* sink) {
  const V factor = V::set1(0.5f), term = V::set1(1.0f);
  // Lanes that differ: equal ones could be computed once.
  float start[16];
  for (int lane = 0; lane < 16; ++lane) start[lane] = static_cast<float>(lane);
  V sums[V::kFmaChains];
  _Pragma("GCC unroll 32") for (int i = 0; i < V::kFmaChains; ++i) {
    sums[i] = V::add(V::load(start), V::set1(static_cast<float>(i)));
  }
  for (uint64_t round = 0; round < rounds; ++round) {
    _Pragma("GCC unroll 32") for (int i = 0; i < V::kFmaChains; ++i) {
      sums[i] = V::fma(sums[i], factor, term);
    }
  }
  for (int i = 1; i < V::kFmaChains; ++i) sums[0] = V::add(sums[0], sums[i]);
  *sink = join(sums[0]);
  return static_cast<double>(rounds) * V::kFmaChains * 16 * 2;
}

}  // namespace switchyard::kernel_body
