#include "launch/progress.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <sstream>

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(ProgressLine, SaysShareRateAndTimeLeft) {
  const ProgressState state{"loading", 1'000'000'000, 4'000'000'000, 2, true};
  EXPECT_EQ(progress_line(state, false), "loading  25 %  500 MB/s  6.00 s left");
  EXPECT_EQ(progress_line(state, true),
            "loading [######..................]  25 %  500 MB/s  6.00 s left");
}

TEST(ProgressLine, CountsTokensToo) {
  EXPECT_EQ(progress_line({"prompt", 30, 60, 3, false}, false),
            "prompt  50 %  10.0 tok/s  3.00 s left");
}

TEST(ProgressLine, StaysSaneAtTheEdges) {
  EXPECT_EQ(progress_line({"x", 0, 0, 0, true}, false), "x 100 %");
  EXPECT_EQ(progress_line({"x", 0, 10, 5, true}, false), "x   0 %");
  EXPECT_THAT(progress_line({"x", 20, 10, 1, true}, false), HasSubstr("100 %"));
}

class ProgressTest : public testing::Test {
 protected:
  std::string shown(bool terminal, double seconds, double step) {
    std::istringstream in;
    std::ostringstream out, err;
    Console console{in, out, err, false, terminal};
    {
      Progress progress(console, "loading", true, [this] { return now_; });
      const double begin = now_;
      while (now_ - begin < seconds) {
        now_ += step;
        progress.update(static_cast<uint64_t>((now_ - begin) * 1e9),
                        static_cast<uint64_t>(seconds * 1e9));
      }
    }
    EXPECT_EQ(out.str(), "");
    return err.str();
  }

  double now_ = 1000;
};

TEST_F(ProgressTest, SaysNothingAboutWhatIsInstant) {
  EXPECT_EQ(shown(true, 0.4, 0.01), "");
  EXPECT_EQ(shown(false, 0.9, 0.01), "");
}

TEST_F(ProgressTest, WritesAtMostALineEveryTenPercent) {
  const std::string text = shown(false, 100, 0.01);
  const auto lines = std::count(text.begin(), text.end(), '\n');
  EXPECT_GE(lines, 10);
  EXPECT_LE(lines, 20);
  EXPECT_THAT(text, Not(HasSubstr("\r")));
}

TEST_F(ProgressTest, RedrawsOneLineOnATerminalAndTakesItAway) {
  const std::string text = shown(true, 3, 0.01);
  EXPECT_THAT(text, Not(HasSubstr("\n")));
  const auto redraws = std::count(text.begin(), text.end(), '\r');
  EXPECT_GE(redraws, 20);
  EXPECT_LE(redraws, 31);
  EXPECT_TRUE(text.ends_with("\r\x1b[K"));
}

}  // namespace
}  // namespace switchyard
