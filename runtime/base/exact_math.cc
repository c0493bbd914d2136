#include "runtime/base/exact_math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace switchyard {
namespace {

// 2^n for −1022 ≤ n ≤ 1023.
double power_of_two(int n) { return std::bit_cast<double>(static_cast<uint64_t>(n + 1023) << 52); }

// pi/2 in three parts of 33 bits each, so that n·part is exact for |n| < 2^20.
constexpr double kHalfPi1 = 0x1.921fb544p+0;
constexpr double kHalfPi2 = 0x1.0b4611a6p-34;
constexpr double kHalfPi3 = 0x1.3198a2ep-69;
constexpr double kHalfPi4 = 0x1.b839a252049c1p-104;

// Taylor series on |x| ≤ pi/4, smallest terms first: the first dropped term is below 2^-60.
double sin_series(double x) {
  const double z = x * x;
  double sum = 1;
  for (int n = 20; n >= 4; n -= 2) sum = 1 - z * sum / (n * (n + 1));
  return x - x * (z * sum / 6);
}

double cos_series(double x) {
  const double z = x * x;
  double sum = 1;
  for (int n = 19; n >= 1; n -= 2) sum = 1 - z * sum / (n * (n + 1));
  return sum;
}

// sin(x + quadrant·pi/2)
double sin_shifted(double x, int64_t quadrant) {
  const double n = std::nearbyint(x * 0x1.45f306dc9c883p-1);  // x / (pi/2)
  const double r = (((x - n * kHalfPi1) - n * kHalfPi2) - n * kHalfPi3) - n * kHalfPi4;
  switch ((static_cast<int64_t>(n) + quadrant) & 3) {
    case 0:
      return sin_series(r);
    case 1:
      return cos_series(r);
    case 2:
      return -sin_series(r);
    default:
      return -cos_series(r);
  }
}

}  // namespace

double exact_exp(double x) {
  if (std::isnan(x)) return x;
  if (x > 709.8) return std::numeric_limits<double>::infinity();
  if (x < -745.2) return 0;
  const double n = std::nearbyint(x * 0x1.71547652b82fep+0);  // x / ln 2
  const double r = (x - n * 0x1.62e42feep-1) - n * 0x1.a39ef35793c76p-33;
  double sum = 1;
  for (int i = 18; i >= 1; --i) sum = 1 + r * sum / i;
  const int half = static_cast<int>(n) / 2;
  return sum * power_of_two(half) * power_of_two(static_cast<int>(n) - half);
}

double exact_log(double x) {
  int exponent = 0;
  double m = std::frexp(x, &exponent);  // exact; m in [0.5, 1)
  if (m < 0x1.6a09e667f3bcdp-1) {
    m *= 2;
    exponent -= 1;
  }
  // ln m = 2 artanh(s), s = (m − 1)/(m + 1), |s| < 0.172
  const double s = (m - 1) / (m + 1);
  const double z = s * s;
  double sum = 0;
  for (int i = 27; i >= 3; i -= 2) sum = z * (1.0 / i + sum);
  return exponent * 0x1.a39ef35793c76p-33 + (2 * (s + s * sum) + exponent * 0x1.62e42feep-1);
}

double exact_pow(double base, double exponent) { return exact_exp(exponent * exact_log(base)); }

double exact_sin(double x) { return sin_shifted(x, 0); }
double exact_cos(double x) { return sin_shifted(x, 1); }

}  // namespace switchyard
