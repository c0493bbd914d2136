#include "runtime/base/exact_math.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "runtime/base/prng.h"

namespace switchyard {
namespace {

// Error in units of the last place of the true value.
double ulps(double got, long double want) {
  const double rounded = static_cast<double>(want);
  const double ulp = std::nextafter(std::fabs(rounded), HUGE_VAL) - std::fabs(rounded);
  return static_cast<double>(std::fabs((static_cast<long double>(got) - want) / ulp));
}

TEST(ExactMath, ExpIsWithinThreeUlps) {
  Prng prng(1);
  for (int i = 0; i < 20000; ++i) {
    const double x = prng.uniform() * 1400 - 700;
    EXPECT_LE(ulps(exact_exp(x), std::exp(static_cast<long double>(x))), 3) << x;
  }
  EXPECT_EQ(exact_exp(0), 1);
  EXPECT_EQ(exact_exp(-800), 0);
  EXPECT_EQ(exact_exp(800), std::numeric_limits<double>::infinity());
  EXPECT_TRUE(std::isnan(exact_exp(std::nan(""))));
}

TEST(ExactMath, LogIsWithinThreeUlpsAwayFromOne) {
  Prng prng(2);
  for (int i = 0; i < 20000; ++i) {
    const double x = std::ldexp(1 + prng.uniform(), static_cast<int>(prng.below(200)) - 100);
    if (std::fabs(x - 1) < 0.01) continue;
    EXPECT_LE(ulps(exact_log(x), std::log(static_cast<long double>(x))), 3) << x;
  }
  EXPECT_EQ(exact_log(1), 0);
}

TEST(ExactMath, PowServesRope) {
  for (int i = 0; i < 64; ++i) {
    const double exponent = i / 64.0;
    const auto want = std::pow(10000.0L, static_cast<long double>(exponent));
    EXPECT_LE(ulps(exact_pow(10000, exponent), want), 20) << i;
  }
}

TEST(ExactMath, SineAndCosineHoldUpToAMillion) {
  Prng prng(3);
  for (int i = 0; i < 20000; ++i) {
    const double x = (prng.uniform() * 2 - 1) * std::ldexp(1, static_cast<int>(prng.below(21)));
    EXPECT_NEAR(exact_sin(x), static_cast<double>(std::sin(static_cast<long double>(x))), 4.5e-16);
    EXPECT_NEAR(exact_cos(x), static_cast<double>(std::cos(static_cast<long double>(x))), 4.5e-16);
  }
  EXPECT_EQ(exact_sin(0), 0);
  EXPECT_EQ(exact_cos(0), 1);
}

}  // namespace
}  // namespace switchyard
