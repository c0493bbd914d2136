// Attention over paged keys and values, by every row of the table.

#include <cfloat>
#include <numeric>

#include "tests/runtime/kernels/kernels_testing.h"

namespace switchyard {
namespace {

struct Case {
  uint32_t heads;
  uint32_t head_dim;
  uint32_t begin;
  uint32_t end;
};

// Two KV heads a page; ours is the second. Pages lie in random order among others, and whatever is
// not a written position is NaN.
struct Cache {
  std::vector<float> pool;
  std::vector<const float*> pages;
  KvView view;
  std::vector<float> keys, values;  // [position, head_dim]
};

Cache random_cache(Prng& prng, const Case& c) {
  const uint32_t pages = (c.end + kPagePositions - 1) / kPagePositions;
  const size_t position_stride = 2 * c.head_dim + 1;
  const size_t page_stride = 2 * kPagePositions * position_stride + 5;
  Cache cache;
  cache.pool.assign((pages + 3) * page_stride, NAN);
  std::vector<uint32_t> ids(pages + 3);
  std::iota(ids.begin(), ids.end(), 0u);
  for (size_t i = ids.size(); i > 1; --i) std::swap(ids[i - 1], ids[prng.below(i)]);
  for (const uint32_t id : ids) cache.pages.push_back(&cache.pool[id * page_stride]);
  cache.keys = random_floats(prng, size_t{c.end} * c.head_dim);
  cache.values = random_floats(prng, size_t{c.end} * c.head_dim);
  cache.view = {cache.pages.data(), c.head_dim, kPagePositions * position_stride + c.head_dim,
                position_stride};
  for (uint32_t p = c.begin; p < c.end; ++p) {
    float* page = &cache.pool[ids[p / kPagePositions] * page_stride];
    const size_t offset = p % kPagePositions * position_stride;
    std::copy_n(&cache.keys[size_t{p} * c.head_dim], c.head_dim,
                page + cache.view.key_offset + offset);
    std::copy_n(&cache.values[size_t{p} * c.head_dim], c.head_dim,
                page + cache.view.value_offset + offset);
  }
  return cache;
}

std::vector<float> attend(const Kernels& kernels, const Case& c, const Cache& cache,
                          const std::vector<float>& q, float scale) {
  std::vector<float> out(c.heads * (c.head_dim + 1), -7);
  kernels.attend(q.data(), c.head_dim + 2, c.heads, cache.view, c.head_dim, scale, c.begin, c.end,
                 out.data(), c.head_dim + 1);
  return out;
}

void check_exact(const Case& c, const Cache& cache, const std::vector<float>& q, float scale,
                 const std::vector<float>& out) {
  for (uint32_t h = 0; h < c.heads; ++h) {
    std::vector<double> scores;
    for (uint32_t p = c.begin; p < c.end; ++p) {
      double score = 0;
      for (uint32_t d = 0; d < c.head_dim; ++d) {
        score += double{q[h * (c.head_dim + 2) + d]} * cache.keys[size_t{p} * c.head_dim + d];
      }
      scores.push_back(score * scale);
    }
    const double top = *std::max_element(scores.begin(), scores.end());
    double sum = 0;
    for (double& score : scores) sum += score = std::exp(score - top);
    for (uint32_t d = 0; d < c.head_dim; ++d) {
      double exact = 0;
      for (uint32_t p = c.begin; p < c.end; ++p) {
        exact += scores[p - c.begin] / sum * cache.values[size_t{p} * c.head_dim + d];
      }
      // |value| ≤ 1. A weight errs by the rounding of its score (a chain of head_dim / 16 + 5
      // terms, times scale), the sums by a unit a position.
      const double score_error = (c.head_dim / 16 + 5) * c.head_dim * scale * FLT_EPSILON;
      const double tolerance = 2 * score_error + (c.end - c.begin + 8) * FLT_EPSILON;
      ASSERT_NEAR(out[h * (c.head_dim + 1) + d], exact, tolerance);
    }
    ASSERT_EQ(out[h * (c.head_dim + 1) + c.head_dim], -7);
  }
}

TEST(Attention, AgreesWithSoftmaxOfScores) {
  Prng prng(1);
  const Case cases[] = {{1, 16, 0, 1},     {2, 8, 0, 16},    {3, 17, 0, 17},  {4, 64, 3, 40},
                        {8, 33, 16, 50},   {1, 128, 31, 32}, {20, 24, 0, 70}, {2, 1, 15, 33},
                        {5, 40, 100, 101}, {17, 16, 7, 9}};
  for (const Case& c : cases) {
    SCOPED_TRACE(testing::Message() << c.heads << " heads of " << c.head_dim << ", positions "
                                    << c.begin << " to " << c.end);
    const Cache cache = random_cache(prng, c);
    const auto q = random_floats(prng, c.heads * (c.head_dim + 2), 3);
    const float scale = 1 / std::sqrt(static_cast<float>(c.head_dim));
    const auto scalar = attend(scalar_kernels(), c, cache, q, scale);
    check_exact(c, cache, q, scale, scalar);
    for (const Kernels* kernels : supported_kernels()) {
      SCOPED_TRACE(kernels->name);
      expect_same_bits(attend(*kernels, c, cache, q, scale), scalar);
    }
  }
}

TEST(Attention, AHeadAloneGivesWhatItGivesAmongOthers) {
  Prng prng(2);
  const Case c = {19, 24, 5, 60};
  const Cache cache = random_cache(prng, c);
  const auto q = random_floats(prng, c.heads * (c.head_dim + 2), 3);
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    const auto together = attend(*kernels, c, cache, q, 0.2f);
    for (uint32_t h = 0; h < c.heads; ++h) {
      Case alone = c;
      alone.heads = 1;
      const auto begin = q.begin() + h * (c.head_dim + 2);
      const auto out = attend(*kernels, alone, cache, {begin, begin + c.head_dim + 2}, 0.2f);
      const auto row = together.begin() + h * (c.head_dim + 1);
      expect_same_bits(out, {row, row + c.head_dim + 1});
    }
  }
}

TEST(Attention, LargeScoresDoNotOverflow) {
  Prng prng(3);
  const Case c = {2, 16, 0, 45};
  const Cache cache = random_cache(prng, c);
  const auto q = random_floats(prng, c.heads * (c.head_dim + 2), 1e4f);
  const auto scalar = attend(scalar_kernels(), c, cache, q, 1);
  for (const float v : scalar) ASSERT_TRUE(std::isfinite(v));
  for (const Kernels* kernels : supported_kernels()) {
    expect_same_bits(attend(*kernels, c, cache, q, 1), scalar);
  }
}

}  // namespace
}  // namespace switchyard
