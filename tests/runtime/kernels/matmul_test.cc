// Products by every row of the table: against sums in double, and bit for bit among the rows.

#include <cfloat>

#include "runtime/base/tree.h"
#include "tests/runtime/kernels/kernels_testing.h"

namespace switchyard {
namespace {

struct Problem {
  DType dtype;
  uint32_t rows;
  uint32_t cols;
  uint32_t tokens;
  std::vector<float> weights;     // row-major
  std::vector<std::byte> blocks;  // the same, kernel-ready
  std::vector<float> x;           // [tokens, cols]

  MatrixView view() const { return {blocks.data(), dtype, rows, cols}; }
  size_t padded() const { return size_t{view().blocks()} * kLanes; }
};

std::pair<std::vector<float>, std::vector<std::byte>> random_matrix(Prng& prng, DType dtype,
                                                                    uint32_t rows, uint32_t cols) {
  const auto source = random_elements(prng, dtype, size_t{rows} * cols);
  std::vector<float> weights(size_t{rows} * cols);
  widen(dtype, source.data(), weights.size(), weights.data());
  std::vector<std::byte> blocks(matrix_bytes(dtype, rows, cols));
  interleave(dtype, source.data(), rows, cols, blocks.data());
  return {weights, blocks};
}

Problem random_problem(Prng& prng, DType dtype, uint32_t rows, uint32_t cols, uint32_t tokens) {
  auto [weights, blocks] = random_matrix(prng, dtype, rows, cols);
  return {dtype,
          rows,
          cols,
          tokens,
          std::move(weights),
          std::move(blocks),
          random_floats(prng, size_t{tokens} * cols)};
}

std::vector<float> packed(const Kernels& kernels, const Problem& p) {
  std::vector<float> out(p.x.size());
  kernels.pack(p.x.data(), p.cols, nullptr, p.tokens, p.cols, out.data());
  return out;
}

std::vector<float> product(const Kernels& kernels, const Problem& p, uint32_t segment) {
  std::vector<float> y(p.tokens * p.padded(), -7);
  kernels.matmul(p.view(), packed(kernels, p).data(), p.tokens, segment, y.data(), p.padded(), 0,
                 p.view().blocks());
  return y;
}

// One element by the definition: chains of fused multiply-adds joined by the canonical tree.
float defined(const Problem& p, uint32_t row, uint32_t token, uint32_t segment) {
  std::vector<float> sums;
  std::vector<uint32_t> leaves;
  for (uint32_t begin = 0; begin < p.cols; begin += segment) {
    float sum = 0;
    for (uint32_t k = begin; k < std::min(p.cols, begin + segment); ++k) {
      sum = std::fma(p.weights[row * p.cols + k], p.x[token * p.cols + k], sum);
    }
    leaves.push_back(static_cast<uint32_t>(sums.size()));
    sums.push_back(sum);
  }
  const auto n = static_cast<uint32_t>(sums.size());
  return tree_sum(
      leaves.data(), 0, n, 0, n, [&](uint32_t i) { return sums[i]; },
      [](float a, float b) { return a + b; });
}

void check_problem(const Problem& p, uint32_t segment) {
  SCOPED_TRACE(testing::Message() << dtype_name(p.dtype) << ' ' << p.rows << 'x' << p.cols << " by "
                                  << p.tokens << ", segments of " << segment);
  const std::vector<float> scalar = product(scalar_kernels(), p, segment);
  for (uint32_t t = 0; t < p.tokens; ++t) {
    for (uint32_t r = 0; r < p.rows; ++r) {
      const float found = scalar[t * p.padded() + r];
      ASSERT_TRUE(same_bits(found, defined(p, r, t, segment))) << "row " << r << " token " << t;
      double exact = 0, magnitude = 0;
      for (uint32_t k = 0; k < p.cols; ++k) {
        const double term = double{p.weights[r * p.cols + k]} * p.x[t * p.cols + k];
        exact += term;
        magnitude += std::abs(term);
      }
      // Every addition errs by half a unit of a partial sum, which is at most `magnitude`.
      ASSERT_NEAR(found, exact, (p.cols + 1) * (FLT_EPSILON / 2) * magnitude + FLT_MIN);
    }
  }
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    expect_same_bits(product(*kernels, p, segment), scalar);
  }
}

constexpr DType kDTypes[] = {DType::kF32, DType::kBF16, DType::kF16};

TEST(Matmul, ShapesAtTheEdges) {
  Prng prng(1);
  for (const DType dtype : kDTypes) {
    for (const uint32_t rows : {1u, 15u, 16u, 17u, 80u}) {
      for (const uint32_t cols : {1u, 2u, 15u, 16u, 17u, 33u}) {
        check_problem(random_problem(prng, dtype, rows, cols, 3), cols);
      }
    }
  }
}

TEST(Matmul, EveryNumberOfTokens) {
  Prng prng(2);
  for (uint32_t tokens = 1; tokens <= 30; ++tokens) {
    const DType dtype = kDTypes[tokens % 3];
    check_problem(random_problem(prng, dtype, 7 * 16 + 5, 21, tokens), 21);
  }
}

TEST(Matmul, SegmentsAreJoinedByTheCanonicalTree) {
  Prng prng(3);
  for (const DType dtype : kDTypes) {
    for (const uint32_t segment : {1u, 3u, 8u, 13u, 32u, 96u, 97u, 200u}) {
      const auto tokens = static_cast<uint32_t>(1 + prng.below(15));
      check_problem(random_problem(prng, dtype, 16 * 3, 97, tokens), segment);
    }
  }
}

TEST(Matmul, As4096Segments) {
  Prng prng(4);
  check_problem(random_problem(prng, DType::kBF16, 4, 4096, 2), 1);
  check_problem(random_problem(prng, DType::kBF16, 4, 4095, 1), 1);
}

TEST(Matmul, RandomShapes) {
  Prng prng(5);
  for (int i = 0; i < 40; ++i) {
    const DType dtype = kDTypes[prng.below(3)];
    const auto rows = static_cast<uint32_t>(1 + prng.below(150));
    const auto cols = static_cast<uint32_t>(1 + prng.below(70));
    const auto tokens = static_cast<uint32_t>(1 + prng.below(20));
    const auto segment = static_cast<uint32_t>(1 + prng.below(cols));
    check_problem(random_problem(prng, dtype, rows, cols, tokens), segment);
  }
}

TEST(Matmul, ATokenAloneGivesWhatItGivesInABatch) {
  Prng prng(6);
  const Problem batch = random_problem(prng, DType::kBF16, 100, 55, 29);
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    const auto together = product(*kernels, batch, 10);
    for (uint32_t t = 0; t < batch.tokens; ++t) {
      Problem alone = batch;
      alone.tokens = 1;
      alone.x.assign(&batch.x[t * batch.cols], &batch.x[t * batch.cols] + batch.cols);
      const auto begin = together.begin() + static_cast<ptrdiff_t>(t * batch.padded());
      expect_same_bits(product(*kernels, alone, 10),
                       {begin, begin + static_cast<ptrdiff_t>(batch.padded())});
    }
  }
}

TEST(Matmul, OnlyTheBlocksAskedForAreWritten) {
  Prng prng(7);
  const Problem p = random_problem(prng, DType::kBF16, 16 * 20, 34, 15);
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    const auto all = product(*kernels, p, p.cols);
    const auto x = packed(*kernels, p);
    for (const auto& [begin, end] : {std::pair{0u, 1u}, {3u, 3u}, {5u, 18u}, {11u, 20u}}) {
      std::vector<float> y(all.size(), -7), expected(all.size(), -7);
      kernels->matmul(p.view(), x.data(), p.tokens, p.cols, y.data(), p.padded(), begin, end);
      for (uint32_t t = 0; t < p.tokens; ++t) {
        for (uint32_t r = begin * kLanes; r < end * kLanes; ++r) {
          expected[t * p.padded() + r] = all[t * p.padded() + r];
        }
      }
      expect_same_bits(y, expected);
    }
  }
}

TEST(Matmul, InfinitiesAndDenormalsAreKept) {
  Prng prng(8);
  Problem p = random_problem(prng, DType::kF32, 40, 30, 14);
  p.x[3] = INFINITY;
  p.x[p.cols + 4] = -INFINITY;
  p.x[2 * p.cols + 5] = NAN;
  for (uint32_t k = 0; k < p.cols; ++k) p.x[3 * p.cols + k] *= 1e-40f;
  const auto scalar = product(scalar_kernels(), p, p.cols);
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    expect_same_bits(product(*kernels, p, p.cols), scalar);
  }
  EXPECT_NE(scalar[3 * p.padded()], 0);
  EXPECT_LT(std::abs(scalar[3 * p.padded()]), FLT_MIN);
}

TEST(Pack, LaysListedRowsInTiles) {
  Prng prng(9);
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    const uint32_t tile = kernels->tile_tokens;
    for (const uint32_t cols : {1u, 16u, 37u, 64u}) {
      for (uint32_t count = 1; count <= 30; ++count) {
        const size_t stride = cols + 3;
        const auto x = random_floats(prng, 50 * stride);
        std::vector<uint32_t> rows(count);
        for (uint32_t& row : rows) row = static_cast<uint32_t>(prng.below(50));
        std::vector<float> out(size_t{count} * cols + 1, -7), expected(out);
        kernels->pack(x.data(), stride, rows.data(), count, cols, out.data());
        for (uint32_t t = 0; t < count; ++t) {
          const uint32_t first = t / tile * tile, width = std::min(tile, count - first);
          for (uint32_t k = 0; k < cols; ++k) {
            expected[first * cols + k * width + (t - first)] = x[rows[t] * stride + k];
          }
        }
        expect_same_bits(out, expected);
      }
    }
  }
}

TEST(GatedMatmul, IsSiluOfGateTimesUp) {
  Prng prng(10);
  for (uint32_t tokens = 1; tokens <= 30; ++tokens) {
    const DType dtype = kDTypes[tokens % 3];
    const Problem gate = random_problem(prng, dtype, 16 * 5 + 3, 45, tokens);
    Problem up = gate;
    std::tie(up.weights, up.blocks) = random_matrix(prng, dtype, gate.rows, gate.cols);
    std::vector<float> scalar;
    for (auto rows = supported_kernels(); !rows.empty(); rows.pop_back()) {
      const Kernels& kernels = *rows.back();
      SCOPED_TRACE(testing::Message() << kernels.name << ' ' << tokens << " tokens");
      std::vector<float> y(tokens * gate.padded(), -7);
      kernels.gated_matmul(gate.view(), up.view(), packed(kernels, gate).data(), tokens, y.data(),
                           gate.padded(), 0, gate.view().blocks());
      if (scalar.empty()) scalar = y;
      expect_same_bits(y, scalar);
    }
    const auto g = product(scalar_kernels(), gate, gate.cols);
    const auto u = product(scalar_kernels(), up, up.cols);
    for (uint32_t t = 0; t < tokens; ++t) {
      for (uint32_t r = 0; r < gate.rows; ++r) {
        const size_t i = t * gate.padded() + r;
        const double exact = double{g[i]} / (1 + std::exp(-double{g[i]})) * u[i];
        ASSERT_NEAR(scalar[i], exact, 4 * FLT_EPSILON * std::abs(exact) + FLT_MIN);
      }
    }
  }
}

}  // namespace
}  // namespace switchyard
