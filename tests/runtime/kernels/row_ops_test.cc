// Norms, rotations, softmax, element-wise operations and our exp, by every row of the table.

#include <cfloat>
#include <functional>

#include "runtime/base/tree.h"
#include "tests/runtime/kernels/kernels_testing.h"

namespace switchyard {
namespace {

constexpr uint32_t kLengths[] = {1, 2, 15, 16, 17, 31, 32, 33, 100, 257};

using Operation = std::function<std::vector<float>(const Kernels&)>;

// The scalar row's result, once every supported row has given the same bits.
std::vector<float> agreed(const Operation& operation) {
  const std::vector<float> scalar = operation(scalar_kernels());
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    expect_same_bits(operation(*kernels), scalar);
  }
  return scalar;
}

TEST(RowOps, AddAndScaleRoundOnce) {
  Prng prng(1);
  for (const uint32_t n : kLengths) {
    auto a = random_floats(prng, n), b = random_floats(prng, n);
    a[0] = 1e-44f;
    b[0] = INFINITY;
    const auto sum = agreed([&](const Kernels& kernels) {
      std::vector<float> y = a;
      kernels.add(y.data(), b.data(), n, y.data());
      return y;
    });
    const auto scaled = agreed([&](const Kernels& kernels) {
      std::vector<float> y(n);
      kernels.scale(a.data(), 0.3f, n, y.data());
      return y;
    });
    for (uint32_t i = 0; i < n; ++i) {
      ASSERT_EQ(sum[i], a[i] + b[i]);
      ASSERT_EQ(scaled[i], a[i] * 0.3f);
    }
  }
}

TEST(RowOps, ClipKeepsNanAndTheSignOfZero) {
  const std::vector<float> x = {-INFINITY, -3, -2, -1, -0.0f, 0, 1e-45f, 2, 2.5f, INFINITY, NAN};
  const auto y = agreed([&](const Kernels& kernels) {
    std::vector<float> copy = x;
    kernels.clip(copy.data(), 2, static_cast<uint32_t>(copy.size()));
    return copy;
  });
  const std::vector<float> expected = {-2, -2, -2, -1, -0.0f, 0, 1e-45f, 2, 2, 2, NAN};
  expect_same_bits(y, expected);
}

TEST(RowOps, NothingPastTheEndIsWritten) {
  Prng prng(2);
  for (const uint32_t n : kLengths) {
    const auto y = agreed([&](const Kernels& kernels) {
      std::vector<float> row(n + 1, 0.5f);
      row[n] = -7;
      kernels.clip(row.data(), 0.25f, n);
      kernels.softmax(row.data(), n);
      kernels.scale(row.data(), 2, n, row.data());
      kernels.rms_norm(row.data(), std::vector<float>(n, 1).data(), n, n, 0, row.data());
      return row;
    });
    EXPECT_EQ(y[n], -7);
  }
}

// The header's words, one by one.
float defined_sum_of_squares(const float* x, uint32_t n) {
  float partial[16] = {};
  for (uint32_t i = 0; i < n; ++i) partial[i % 16] = std::fma(x[i], x[i], partial[i % 16]);
  for (uint32_t half = 8; half > 0; half /= 2) {
    for (uint32_t i = 0; i < half; ++i) partial[i] += partial[i + half];
  }
  return partial[0];
}

std::vector<float> defined_rms_norm(const std::vector<float>& x, const std::vector<float>& weight,
                                    uint32_t segment, float eps) {
  const auto n = static_cast<uint32_t>(x.size());
  std::vector<float> sums;
  std::vector<uint32_t> leaves;
  for (uint32_t i = 0; i < n; i += segment) {
    leaves.push_back(static_cast<uint32_t>(sums.size()));
    sums.push_back(defined_sum_of_squares(&x[i], std::min(segment, n - i)));
  }
  const auto count = static_cast<uint32_t>(sums.size());
  const float sum = tree_sum(
      leaves.data(), 0, count, 0, count, [&](uint32_t i) { return sums[i]; },
      [](float a, float b) { return a + b; });
  const float factor = 1.0f / std::sqrt(sum / static_cast<float>(n) + eps);
  std::vector<float> y(n);
  for (uint32_t i = 0; i < n; ++i) y[i] = x[i] * factor * weight[i];
  return y;
}

TEST(RowOps, RmsNormIsItsDefinition) {
  Prng prng(3);
  for (const uint32_t n : kLengths) {
    for (const uint32_t segment : {1u, 5u, 16u, 24u, n}) {
      SCOPED_TRACE(testing::Message() << n << " in segments of " << segment);
      const auto x = random_floats(prng, n, 3), weight = random_floats(prng, n);
      const auto y = agreed([&](const Kernels& kernels) {
        std::vector<float> out = x;
        kernels.rms_norm(out.data(), weight.data(), n, segment, 1e-6f, out.data());
        return out;
      });
      expect_same_bits(y, defined_rms_norm(x, weight, segment, 1e-6f));
      double squares = 0;
      for (const float v : x) squares += double{v} * v;
      for (uint32_t i = 0; i < n; ++i) {
        const double exact = x[i] / std::sqrt(squares / n + 1e-6) * weight[i];
        ASSERT_NEAR(y[i], exact, (n / 2 + 5) * FLT_EPSILON * std::abs(exact));
      }
    }
  }
}

TEST(RowOps, RopeRoundsTheSineFirst) {
  Prng prng(4);
  for (const uint32_t half : kLengths) {
    const auto x = random_floats(prng, 2 * half);
    std::vector<float> cos(half), sin(half);
    for (uint32_t i = 0; i < half; ++i) {
      const double angle = prng.uniform() * 7;
      cos[i] = static_cast<float>(std::cos(angle));
      sin[i] = static_cast<float>(std::sin(angle));
    }
    const auto y = agreed([&](const Kernels& kernels) {
      std::vector<float> out = x;
      kernels.rope(out.data(), cos.data(), sin.data(), half);
      return out;
    });
    for (uint32_t i = 0; i < half; ++i) {
      const float a = x[i], b = x[i + half];
      ASSERT_TRUE(same_bits(y[i], std::fma(a, cos[i], -(b * sin[i]))));
      ASSERT_TRUE(same_bits(y[i + half], std::fma(b, cos[i], a * sin[i])));
    }
  }
}

TEST(RowOps, SoftmaxSumsToOne) {
  Prng prng(5);
  for (const uint32_t n : kLengths) {
    const auto x = random_floats(prng, n, 20);
    const auto y = agreed([&](const Kernels& kernels) {
      std::vector<float> out = x;
      kernels.softmax(out.data(), n);
      return out;
    });
    const double top = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const float v : x) sum += std::exp(v - top);
    for (uint32_t i = 0; i < n; ++i) {
      const double exact = std::exp(x[i] - top) / sum;
      // Rounding x − max (below 40) by half a unit, the polynomial, n / 16 + 4 sums, a quotient.
      ASSERT_NEAR(y[i], exact, (24 + n / 16.0) * FLT_EPSILON * exact + FLT_TRUE_MIN);
    }
  }
}

TEST(RowOps, SoftmaxTakesInfinities) {
  const auto y = agreed([&](const Kernels& kernels) {
    std::vector<float> out = {-INFINITY, 1, -INFINITY, 1, -300};
    kernels.softmax(out.data(), static_cast<uint32_t>(out.size()));
    return out;
  });
  expect_same_bits(y, {0, 0.5f, 0, 0.5f, 0});
}

// The softmax of {0, x} is e^x itself once 1 + e^x rounds to 1.
TEST(RowOps, ExpIsAccurateWhereSoftmaxUsesIt) {
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    for (float x = -103.9f; x < -17.5f; x += 0.0137f) {
      float pair[2] = {0, x};
      kernels->softmax(pair, 2);
      const long double exact = std::exp(static_cast<long double>(x));
      const auto rounded = static_cast<float>(exact);
      const float unit = std::nextafter(rounded, INFINITY) - rounded;
      ASSERT_NEAR(pair[1], exact, 1.0L * unit) << x;
    }
  }
}

TEST(RowOps, SigmoidIsAccurateEverywhere) {
  std::vector<float> inputs;
  for (uint32_t bits = 0; bits < 0x7f800000; bits += 0x5431) {
    inputs.push_back(std::bit_cast<float>(bits));
    inputs.push_back(-inputs.back());
  }
  const auto y = agreed([&](const Kernels& kernels) {
    std::vector<float> out;
    for (const float x : inputs) out.push_back(kernels.sigmoid(x));
    return out;
  });
  for (size_t i = 0; i < inputs.size(); ++i) {
    const long double exact = 1 / (1 + std::exp(-static_cast<long double>(inputs[i])));
    // e^−x overflows below −88.7, where the exact value is below 2^-127.
    ASSERT_NEAR(y[i], exact, 2 * FLT_EPSILON * exact + 0x1p-127L) << inputs[i];
  }
}

TEST(RowOps, SigmoidHasItsLimits) {
  const auto y = agreed([&](const Kernels& kernels) {
    return std::vector<float>{kernels.sigmoid(-INFINITY), kernels.sigmoid(INFINITY),
                              kernels.sigmoid(0), kernels.sigmoid(NAN), kernels.sigmoid(-1e30f)};
  });
  expect_same_bits(y, {0, 1, 0.5f, NAN, 0});
}

TEST(RowOps, BoundsDoTheWorkTheyCount) {
  for (const Kernels* kernels : supported_kernels()) {
    SCOPED_TRACE(kernels->name);
    const std::vector<float> data(16 * 840, 0.25f);
    for (uint32_t streams = 1; streams <= 8; ++streams) {
      const auto* bytes = reinterpret_cast<const std::byte*>(data.data());
      EXPECT_EQ(kernels->read_streams(bytes, data.size() * 4, streams), 0.25f * data.size());
    }
    float sink = 0;
    const double one = kernels->fma_rounds(1, &sink);
    EXPECT_EQ(kernels->fma_rounds(1000, &sink), 1000 * one);
    EXPECT_EQ(sink, one);  // every lane of x ← x / 2 + 1 ends at 2
  }
}

}  // namespace
}  // namespace switchyard
