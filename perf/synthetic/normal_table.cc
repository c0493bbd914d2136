#include "perf/synthetic/normal_table.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "runtime/base/check.h"
#include "runtime/base/exact_math.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

constexpr uint32_t kQuantiles = 65536;

// Quantile (i + ½) / n of the standard normal distribution for i ≥ n / 2, the upper half: the
// density is summed by trapezoids until the share is reached. No libm, so the bits are the same
// everywhere.
std::vector<double> upper_quantiles() {
  constexpr double kStep = 1e-4;
  constexpr double kInverseRoot = 0.39894228040143267794;  // 1 / √(2π)
  std::vector<double> quantiles;
  quantiles.reserve(kQuantiles / 2);
  double x = 0, share = 0.5, density = kInverseRoot;
  for (uint32_t i = kQuantiles / 2; i < kQuantiles; ++i) {
    const double wanted = (i + 0.5) / kQuantiles;
    while (true) {
      const double right = x + kStep;
      const double density_right = kInverseRoot * exact_exp(-0.5 * right * right);
      const double area = 0.5 * kStep * (density + density_right);
      if (share + area >= wanted) {
        quantiles.push_back(x + kStep * (wanted - share) / area);
        break;
      }
      x = right;
      share += area;
      density = density_right;
    }
  }
  return quantiles;
}

std::vector<float> scaled_quantiles(double mean, double deviation) {
  const std::vector<double> upper = upper_quantiles();
  std::vector<float> values(kQuantiles);
  for (uint32_t i = 0; i < kQuantiles / 2; ++i) {
    values[kQuantiles / 2 + i] = static_cast<float>(mean + deviation * upper[i]);
    values[kQuantiles / 2 - 1 - i] = static_cast<float>(mean - deviation * upper[i]);
  }
  return values;
}

}  // namespace

uint16_t to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

uint16_t to_f16(float value) {
  const double magnitude = std::fabs(static_cast<double>(value));
  CHECK_THAT(magnitude < 65504, "{}", value);
  const uint16_t sign = std::signbit(value) ? 0x8000 : 0;
  int exponent = 0;
  (void)std::frexp(magnitude, &exponent);  // magnitude in [2^(exponent − 1), 2^exponent)
  const bool normal = magnitude >= 0x1p-14;
  // The unit in the last place; below 2^−14 it stays what it is there.
  const int unit = normal ? exponent - 11 : -24;
  const auto mantissa = static_cast<uint32_t>(std::nearbyint(std::ldexp(magnitude, -unit)));
  const uint32_t biased = normal ? static_cast<uint32_t>(exponent + 13) << 10 : 0;
  return static_cast<uint16_t>(sign | (biased + mantissa));
}

NormalTable::NormalTable(DType dtype, double mean, double deviation) {
  const std::vector<float> values = scaled_quantiles(mean, deviation);
  for (const float value : values) {
    if (dtype == DType::kF32) whole_.push_back(std::bit_cast<uint32_t>(value));
    if (dtype == DType::kBF16) half_.push_back(to_bf16(value));
    if (dtype == DType::kF16) half_.push_back(to_f16(value));
  }
}

template <class Element>
void NormalTable::fill_with(const std::vector<Element>& table, uint64_t seed,
                            std::span<std::byte> out) const {
  constexpr size_t kAtOnce = 4;
  Prng prng(seed);
  const size_t count = out.size() / sizeof(Element);
  Element block[kAtOnce];
  for (size_t at = 0; at < count; at += kAtOnce) {
    const uint64_t bits = prng.next();
    for (size_t i = 0; i < kAtOnce; ++i) block[i] = table[(bits >> (16 * i)) & 0xffff];
    const size_t here = std::min(kAtOnce, count - at);
    std::memcpy(out.data() + at * sizeof(Element), block, here * sizeof(Element));
  }
}

void NormalTable::fill(uint64_t seed, std::span<std::byte> out) const {
  if (whole_.empty()) {
    fill_with(half_, seed, out);
  } else {
    fill_with(whole_, seed, out);
  }
}

}  // namespace switchyard
