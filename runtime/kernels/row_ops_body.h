#pragma once

// Operations on one row: norms, rotations, softmax, sums.

#include <cstdint>

#include "runtime/kernels/vector_math_body.h"

namespace switchyard::kernel_body {

// y[i] = f(x[i]) for n elements, 16 at a time.
template <class V, class F>
static inline void map_row(const float* x, uint32_t n, float* y, const F& f) {
  uint32_t i = 0;
  for (; n - i >= 16; i += 16) V::store(y + i, f(V::load(x + i), i, 16u));
  if (i < n) V::store_first(y + i, f(V::load_first(x + i, n - i), i, n - i), n - i);
}

template <class V>
static void add(const float* a, const float* b, uint32_t n, float* y) {
  map_row<V>(a, n, y, [b](V v, uint32_t i, uint32_t count) {
    return V::add(v, V::load_first(b + i, count));
  });
}

template <class V>
static void scale(const float* x, float factor, uint32_t n, float* y) {
  const V factors = V::set1(factor);
  map_row<V>(x, n, y, [factors](V v, uint32_t, uint32_t) { return V::mul(v, factors); });
}

template <class V>
static void clip(float* x, float limit, uint32_t n) {
  const V high = V::set1(limit), low = V::set1(-limit);
  map_row<V>(x, n, x,
             [high, low](V v, uint32_t, uint32_t) { return V::max(low, V::min(high, v)); });
}

template <class V>
static void softmax(float* x, uint32_t n) {
  const V lowest = V::set1(-__builtin_inff());
  V top = lowest;
  for (uint32_t i = 0; i < n; i += 16) {
    const V v = V::load_first(x + i, n - i);
    top = V::max(V::choose(first_lanes(n - i), v, lowest), top);
  }
  const V shift = V::set1(largest(top));
  V sum = V::zero();
  map_row<V>(x, n, x, [&sum, shift](V v, uint32_t, uint32_t count) {
    const V e = V::choose(first_lanes(count), exp(V::sub(v, shift)), V::zero());
    sum = V::add(sum, e);
    return e;
  });
  const V total = V::set1(join(sum));
  map_row<V>(x, n, x, [total](V v, uint32_t, uint32_t) { return V::div(v, total); });
}

template <class V>
static float sigmoid_of(float x) {
  return first_lane(sigmoid(V::set1(x)));
}

template <class V>
static float sum_of_squares(const float* x, uint32_t n) {
  V sum = V::zero();
  for (uint32_t i = 0; i < n; i += 16) {
    const V v = V::load_first(x + i, n - i);
    sum = V::fma(v, v, sum);
  }
  return join(sum);
}

// Leaves pushed in order; equal sizes are joined at once and the rest from the right, which is the
// canonical tree of runtime/base/tree.h. A template only to stay inside the translation unit.
template <class V>
struct SumStack {
  float sums[33];
  uint32_t depth = 0;
  uint32_t leaves = 0;

  void push(float sum) {
    for (uint32_t carry = leaves; (carry & 1) != 0; carry >>= 1) sum = sums[--depth] + sum;
    sums[depth++] = sum;
    ++leaves;
  }

  float total() {
    float sum = sums[--depth];
    while (depth > 0) sum = sums[--depth] + sum;
    return sum;
  }
};

template <class V>
static void normalise(const float* x, const float* weight, uint32_t n, float mean_square, float eps,
                      float* y) {
  const V factor = V::div(V::set1(1.0f), V::sqrt(V::set1(mean_square + eps)));
  map_row<V>(x, n, y, [factor, weight](V v, uint32_t i, uint32_t count) {
    return V::mul(V::mul(v, factor), V::load_first(weight + i, count));
  });
}

template <class V>
static void rms_norm(const float* x, const float* weight, uint32_t n, uint32_t segment, float eps,
                     float* y) {
  SumStack<V> stack;
  for (uint32_t i = 0; i < n;) {
    const uint32_t count = n - i < segment ? n - i : segment;
    stack.push(sum_of_squares<V>(x + i, count));
    i += count;
  }
  normalise<V>(x, weight, n, stack.total() / static_cast<float>(n), eps, y);
}

template <class V>
static void rope(float* x, const float* cos, const float* sin, uint32_t half) {
  for (uint32_t i = 0; i < half; i += 16) {
    const uint32_t count = half - i;
    const V a = V::load_first(x + i, count), b = V::load_first(x + half + i, count);
    const V c = V::load_first(cos + i, count), s = V::load_first(sin + i, count);
    V::store_first(x + i, V::fma(a, c, V::sub(V::zero(), V::mul(b, s))), count);
    V::store_first(x + half + i, V::fma(b, c, V::mul(a, s)), count);
  }
}

}  // namespace switchyard::kernel_body
