#pragma once

#include <cstdint>

namespace switchyard {

inline constexpr uint64_t kPageBytes = 4096;  // unit of O_DIRECT offsets and lengths

constexpr uint64_t round_up(uint64_t value, uint64_t unit) {
  return (value + unit - 1) / unit * unit;
}
constexpr uint64_t round_down(uint64_t value, uint64_t unit) { return value / unit * unit; }
constexpr uint64_t ceil_div(uint64_t value, uint64_t by) { return (value + by - 1) / by; }

}  // namespace switchyard
