#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

// "4096", "512KiB", "16GiB" (powers of 1024), "4MB" (powers of 1000). kUsage for anything else.
Result<uint64_t> parse_size(std::string_view text);

// A size, or a share of `whole` written "25%".
Result<uint64_t> parse_size_or_share(std::string_view text, uint64_t whole);

// Bytes a second, above 0: "950MB/s", "1GiB/s"; a size without "/s" is a rate too. kUsage.
Result<double> parse_rate(std::string_view text);

// Seconds: "250us", "8ms", "1.5s". kUsage.
Result<double> parse_time(std::string_view text);

// Three significant digits in the largest fitting unit: "1.53 GiB"; exact below 1 KiB: "17 B".
std::string format_size(uint64_t bytes);

// "1.20 GB/s"; powers of 1000.
std::string format_rate(double bytes_per_second);

// "412 us", "8.13 ms", "2.50 s", "3 min 20 s".
std::string format_seconds(double seconds);

// `bytes` exactly, as a --memory value in its largest whole unit: "512KiB".
std::string size_option(uint64_t bytes);

// `bytes` rounded up to whole MiB as a --memory value: "7MiB".
std::string size_option_rounded_up(uint64_t bytes);

}  // namespace switchyard
