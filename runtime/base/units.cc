#include "runtime/base/units.h"

#include <fmt/format.h>

#include <array>
#include <charconv>
#include <cmath>

namespace switchyard {
namespace {

struct Unit {
  std::string_view name;
  double factor;
};
constexpr std::array<Unit, 12> kSizeUnits = {{{"", 1},
                                              {"B", 1},
                                              {"KiB", 0x1p10},
                                              {"MiB", 0x1p20},
                                              {"GiB", 0x1p30},
                                              {"TiB", 0x1p40},
                                              {"KB", 1e3},
                                              {"kB", 1e3},
                                              {"MB", 1e6},
                                              {"GB", 1e9},
                                              {"TB", 1e12},
                                              {"PiB", 0x1p50}}};

tl::unexpected<Error> not_a_size(std::string_view text) {
  return fail(Code::kUsage, fmt::format("'{}' is not a size", text), {},
              "write bytes, or a number with KiB, MiB, GiB (1024) or KB, MB, GB (1000)");
}

// The number at the front of `text`, which is cut off. Negative values and exponents are refused.
Result<double> take_number(std::string_view& text, std::string_view whole) {
  double value = 0;
  const auto [end, error] =
      std::from_chars(text.data(), text.data() + text.size(), value, std::chars_format::fixed);
  if (error != std::errc{} || !(value >= 0) || !std::isfinite(value)) return not_a_size(whole);
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  return value;
}

}  // namespace

Result<uint64_t> parse_size(std::string_view text) {
  std::string_view rest = text;
  const double value = TRY(take_number(rest, text));
  for (const Unit& unit : kSizeUnits) {
    if (rest != unit.name) continue;
    const double bytes = value * unit.factor;
    if (bytes >= 0x1p63) return not_a_size(text);
    return static_cast<uint64_t>(bytes);
  }
  return not_a_size(text);
}

Result<uint64_t> parse_size_or_share(std::string_view text, uint64_t whole) {
  if (!text.ends_with('%')) return parse_size(text);
  std::string_view rest = text;
  const double percent = TRY(take_number(rest, text));
  if (rest != "%" || percent > 100) {
    return fail(Code::kUsage, fmt::format("'{}' is not a share", text), {}, "write 0% to 100%");
  }
  return static_cast<uint64_t>(static_cast<double>(whole) * percent / 100);
}

Result<double> parse_rate(std::string_view text) {
  std::string_view size = text;
  if (size.ends_with("/s")) size.remove_suffix(2);
  const auto bytes = parse_size(size);
  if (bytes && *bytes > 0) return static_cast<double>(*bytes);
  return fail(Code::kUsage, fmt::format("'{}' is not a rate", text), {}, "write 950MB/s or 1GiB/s");
}

Result<double> parse_time(std::string_view text) {
  std::string_view rest = text;
  const auto value = take_number(rest, text);
  constexpr std::array<Unit, 4> kTimeUnits = {{{"ns", 1e-9}, {"us", 1e-6}, {"ms", 1e-3}, {"s", 1}}};
  for (const Unit& unit : kTimeUnits) {
    if (value && rest == unit.name) return *value * unit.factor;
  }
  return fail(Code::kUsage, fmt::format("'{}' is not a time", text), {}, "write 250us, 8ms or 2s");
}

std::string format_size(uint64_t bytes) {
  if (bytes < 1024) return fmt::format("{} B", bytes);
  constexpr std::array<std::string_view, 5> kNames = {"KiB", "MiB", "GiB", "TiB", "PiB"};
  double value = static_cast<double>(bytes) / 1024;
  size_t unit = 0;
  while (value >= 999.5 && unit + 1 < kNames.size()) {
    value /= 1024;
    ++unit;
  }
  const int digits = value < 9.995 ? 2 : value < 99.95 ? 1 : 0;
  return fmt::format("{:.{}f} {}", value, digits, kNames[unit]);
}

std::string format_rate(double bytes_per_second) {
  if (bytes_per_second < 1e6) return fmt::format("{:.1f} KB/s", bytes_per_second / 1e3);
  if (bytes_per_second < 1e9) return fmt::format("{:.0f} MB/s", bytes_per_second / 1e6);
  return fmt::format("{:.2f} GB/s", bytes_per_second / 1e9);
}

std::string format_seconds(double seconds) {
  if (seconds < 1e-3) return fmt::format("{:.0f} us", seconds * 1e6);
  if (seconds < 1) return fmt::format("{:.2f} ms", seconds * 1e3);
  if (seconds < 120) return fmt::format("{:.2f} s", seconds);
  const auto whole = static_cast<uint64_t>(seconds);
  return fmt::format("{} min {} s", whole / 60, whole % 60);
}

std::string size_option(uint64_t bytes) {
  constexpr std::array<std::string_view, 5> kNames = {"", "KiB", "MiB", "GiB", "TiB"};
  size_t unit = 0;
  while (unit + 1 < kNames.size() && bytes != 0 && bytes % 1024 == 0) {
    bytes /= 1024;
    ++unit;
  }
  return fmt::format("{}{}", bytes, kNames[unit]);
}

std::string size_option_rounded_up(uint64_t bytes) {
  return fmt::format("{}MiB", (bytes + 0xfffff) >> 20);
}

}  // namespace switchyard
