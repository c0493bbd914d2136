#pragma once

// Attention of the query heads that share one KV head, page by page. A page's 16 positions are the
// 16 lanes of a vector of scores.

#include <cstdint>

#include "runtime/kernels/kernel_table.h"
#include "runtime/kernels/vector_math_body.h"

namespace switchyard::kernel_body {

inline constexpr uint32_t kHeadsTogether = 16;  // share one pass over the pages

// The attended positions of one page: [first, last) of its 16.
struct PageView {
  const float* keys;
  const float* values;
  size_t position_stride;
  uint32_t first;
  uint32_t last;
};

static inline PageView page_view(const KvView& kv, uint32_t page, uint32_t begin, uint32_t end) {
  const float* start = kv.pages[page];
  const uint32_t base = page * kPagePositions;
  return {start + kv.key_offset, start + kv.value_offset, kv.position_stride,
          begin > base ? begin - base : 0,
          end - base < kPagePositions ? end - base : kPagePositions};
}

// The 16 partial sums of query · key for Keys keys, whose chains hide each other's latency.
template <class V, int Keys>
static inline void partial_scores(const float* query, uint32_t head_dim, const float* key,
                                  size_t key_stride, V* partial) {
  V sums[Keys];
  for (int i = 0; i < Keys; ++i) sums[i] = V::zero();
  uint32_t d = 0;
  for (; head_dim - d >= 16; d += 16) {
    const V q = V::load(query + d);
    for (int i = 0; i < Keys; ++i) {
      sums[i] = V::fma(q, V::load(key + i * key_stride + d), sums[i]);
    }
  }
  if (d < head_dim) {
    const uint32_t count = head_dim - d;
    const V q = V::load_first(query + d, count);
    for (int i = 0; i < Keys; ++i) {
      sums[i] = V::fma(q, V::load_first(key + i * key_stride + d, count), sums[i]);
    }
  }
  for (int i = 0; i < Keys; ++i) partial[i] = sums[i];
}

// Lane j: query · key j by 16 partial sums; lanes outside the page's range are zero, and what lies
// in memory there is not read.
template <class V>
static inline V page_scores(const float* query, uint32_t head_dim, const PageView& page) {
  V partial[kPagePositions];
  for (V& p : partial) p = V::zero();
  const size_t stride = page.position_stride;
  uint32_t j = page.first;
  for (; page.last - j >= 4; j += 4) {
    partial_scores<V, 4>(query, head_dim, page.keys + j * stride, stride, partial + j);
  }
  for (; j < page.last; ++j) {
    partial_scores<V, 1>(query, head_dim, page.keys + j * stride, stride, partial + j);
  }
  return join_each(partial);
}

// out[d …] = out · alpha + Σ_j weights[j] · value j, positions ascending, for Chunks times 16
// elements, the last 16 being `last` elements.
template <class V, int Chunks>
static inline void add_value_chunks(const float (&weights)[kPagePositions], V alpha,
                                    const PageView& page, uint32_t d, uint32_t last, float* out) {
  V sums[Chunks];
  for (int c = 0; c < Chunks; ++c) {
    const uint32_t count = c + 1 < Chunks ? 16 : last;
    sums[c] = V::mul(V::load_first(out + d + c * 16, count), alpha);
  }
  for (uint32_t j = page.first; j < page.last; ++j) {
    const float* value = page.values + j * page.position_stride + d;
    const V weight = V::set1(weights[j]);
    for (int c = 0; c + 1 < Chunks; ++c) {
      sums[c] = V::fma(weight, V::load(value + c * 16), sums[c]);
    }
    const V tail = V::load_first(value + (Chunks - 1) * 16, last);
    sums[Chunks - 1] = V::fma(weight, tail, sums[Chunks - 1]);
  }
  for (int c = 0; c < Chunks; ++c) {
    V::store_first(out + d + c * 16, sums[c], c + 1 < Chunks ? 16 : last);
  }
}

template <class V>
static inline void add_values(const float (&weights)[kPagePositions], float alpha,
                              const PageView& page, uint32_t head_dim, float* out) {
  const V alphas = V::set1(alpha);
  uint32_t d = 0;
  for (; head_dim - d >= 64; d += 64) add_value_chunks<V, 4>(weights, alphas, page, d, 16, out);
  for (; d < head_dim; d += 16) {
    const uint32_t last = head_dim - d < 16 ? head_dim - d : 16;
    add_value_chunks<V, 1>(weights, alphas, page, d, last, out);
  }
}

// What one head carries from page to page beside its row of out.
struct Running {
  float top;
  float sum;
};

template <class V>
static inline void attend_page(const float* query, uint32_t head_dim, float scale,
                               const PageView& page, Running& running, float* out) {
  const uint32_t mask = first_lanes(page.last) & ~first_lanes(page.first);
  const V scores = V::mul(page_scores<V>(query, head_dim, page), V::set1(scale));
  const float page_top = largest(V::choose(mask, scores, V::set1(-__builtin_inff())));
  const float top = running.top > page_top ? running.top : page_top;
  const float alpha = first_lane(exp(V::set1(running.top - top)));
  const V e = V::choose(mask, exp(V::sub(scores, V::set1(top))), V::zero());
  float weights[kPagePositions];
  V::store(weights, e);
  running.top = top;
  running.sum = running.sum * alpha + join(e);
  add_values<V>(weights, alpha, page, head_dim, out);
}

template <class V>
static void attend_group(const float* q, size_t q_stride, uint32_t heads, const KvView& kv,
                         uint32_t head_dim, float scale, uint32_t begin, uint32_t end, float* out,
                         size_t out_stride) {
  Running running[kHeadsTogether];
  for (uint32_t h = 0; h < heads; ++h) {
    running[h] = {-__builtin_inff(), 0};
    for (uint32_t d = 0; d < head_dim; ++d) out[h * out_stride + d] = 0;
  }
  for (uint32_t page = begin / kPagePositions; page * kPagePositions < end; ++page) {
    const PageView view = page_view(kv, page, begin, end);
    for (uint32_t h = 0; h < heads; ++h) {
      attend_page<V>(q + h * q_stride, head_dim, scale, view, running[h], out + h * out_stride);
    }
  }
  for (uint32_t h = 0; h < heads; ++h) {
    float* row = out + h * out_stride;
    const V sum = V::set1(running[h].sum);
    for (uint32_t d = 0; d < head_dim; d += 16) {
      const uint32_t count = head_dim - d;
      V::store_first(row + d, V::div(V::load_first(row + d, count), sum), count);
    }
  }
}

template <class V>
static void attend(const float* q, size_t q_stride, uint32_t heads, const KvView& kv,
                   uint32_t head_dim, float scale, uint32_t begin, uint32_t end, float* out,
                   size_t out_stride) {
  for (uint32_t h = 0; h < heads; h += kHeadsTogether) {
    const uint32_t count = heads - h < kHeadsTogether ? heads - h : kHeadsTogether;
    attend_group<V>(q + h * q_stride, q_stride, count, kv, head_dim, scale, begin, end,
                    out + h * out_stride, out_stride);
  }
}

}  // namespace switchyard::kernel_body
