#include "runtime/base/units.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(ParseSize, TakesBinaryAndDecimalUnits) {
  EXPECT_EQ(parse_size("4096").value(), 4096u);
  EXPECT_EQ(parse_size("17B").value(), 17u);
  EXPECT_EQ(parse_size("512KiB").value(), 512u << 10);
  EXPECT_EQ(parse_size("1.5GiB").value(), 3ull << 29);
  EXPECT_EQ(parse_size("4MB").value(), 4'000'000u);
  EXPECT_EQ(parse_size("2TiB").value(), 2ull << 40);
}

TEST(ParseSize, RefusesEverythingElse) {
  for (const char* text : {"", "MiB", "-1", "1e9", "0x10", "5 MiB", "5mib", "5Mib ", "nan", "inf",
                           "99999999999999TiB", "1,5GiB", "25%"}) {
    const auto size = parse_size(text);
    ASSERT_FALSE(size.has_value()) << text;
    EXPECT_EQ(size.error().code, Code::kUsage) << text;
  }
}

TEST(ParseSizeOrShare, TakesSharesUpToAll) {
  EXPECT_EQ(parse_size_or_share("25%", 1000).value(), 250u);
  EXPECT_EQ(parse_size_or_share("100%", 1000).value(), 1000u);
  EXPECT_EQ(parse_size_or_share("3KiB", 1000).value(), 3072u);
  EXPECT_FALSE(parse_size_or_share("101%", 1000).has_value());
  EXPECT_FALSE(parse_size_or_share("%", 1000).has_value());
  EXPECT_FALSE(parse_size_or_share("-5%", 1000).has_value());
}

TEST(ParseRate, TakesBytesASecond) {
  EXPECT_EQ(*parse_rate("950MB/s"), 950e6);
  EXPECT_EQ(*parse_rate("1.5KiB/s"), 1536);
  EXPECT_EQ(*parse_rate("7"), 7);
  for (const char* bad : {"", "0", "0MB/s", "/s", "5MB/m", "-1MB/s"}) {
    ASSERT_FALSE(parse_rate(bad)) << bad;
    EXPECT_EQ(parse_rate(bad).error().code, Code::kUsage);
  }
}

TEST(ParseTime, TakesSecondsAndTheirParts) {
  EXPECT_DOUBLE_EQ(*parse_time("250us"), 250e-6);
  EXPECT_DOUBLE_EQ(*parse_time("8ms"), 8e-3);
  EXPECT_DOUBLE_EQ(*parse_time("1.5s"), 1.5);
  for (const char* bad : {"", "5", "ms", "-1s", "5min"}) {
    ASSERT_FALSE(parse_time(bad)) << bad;
    EXPECT_EQ(parse_time(bad).error().code, Code::kUsage);
  }
}

TEST(Format, ShowsThreeDigits) {
  EXPECT_EQ(format_size(17), "17 B");
  EXPECT_EQ(format_size(1536), "1.50 KiB");
  EXPECT_EQ(format_size(10ull << 20), "10.0 MiB");
  EXPECT_EQ(format_size(250ull << 30), "250 GiB");
  EXPECT_EQ(format_size(1023ull << 10), "1.00 MiB");
  EXPECT_EQ(format_rate(1.5e9), "1.50 GB/s");
  EXPECT_EQ(format_seconds(0.0081), "8.10 ms");
  EXPECT_EQ(format_seconds(200), "3 min 20 s");
}

TEST(SizeOption, IsWhatAUserWouldWrite) {
  EXPECT_EQ(size_option(512 << 10), "512KiB");
  EXPECT_EQ(size_option(7 << 20), "7MiB");
  EXPECT_EQ(size_option(3ull << 30), "3GiB");
  EXPECT_EQ(size_option(1234567), "1234567");
  EXPECT_EQ(size_option(0), "0");
}

TEST(SizeOptionRoundedUp, ParsesBackToNoLess) {
  for (const uint64_t bytes : {1ull, 1048576ull, 1048577ull, 7'000'000ull}) {
    const std::string option = size_option_rounded_up(bytes);
    EXPECT_GE(parse_size(option).value(), bytes) << option;
    EXPECT_LT(parse_size(option).value(), bytes + (1 << 20)) << option;
  }
}

}  // namespace
}  // namespace switchyard
