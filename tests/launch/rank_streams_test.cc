#include "launch/rank_streams.h"

#include <gtest/gtest.h>

#include <sstream>

namespace switchyard {
namespace {

TEST(PrefixedStream, MarksEveryLineAndNoPartOfOne) {
  std::ostringstream out;
  {
    PrefixedStream marked(out, "[r3] ");
    marked << "one" << ' ' << 2 << std::endl << "\nthree\nfo";
    EXPECT_EQ(out.str(), "[r3] one 2\n[r3] \n[r3] three\n");
    marked << "ur" << std::flush;
    EXPECT_EQ(out.str(), "[r3] one 2\n[r3] \n[r3] three\n");
  }
  EXPECT_EQ(out.str(), "[r3] one 2\n[r3] \n[r3] three\n[r3] four\n");
}

TEST(NoStream, TakesEverything) {
  NoStream nothing;
  nothing << "a line" << 7 << std::endl;
  EXPECT_TRUE(nothing.good());
}

}  // namespace
}  // namespace switchyard
