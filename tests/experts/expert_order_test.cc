#include "experts/expert_order.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(ExpertOrder, GoesThroughItsText) {
  const ExpertOrder order = {{2, 0, 1}, {0, 1, 2}};
  EXPECT_EQ(parse_order(encode_order(order), 2, 3, "x").value(), order);
  EXPECT_EQ(plain_order(2, 3), (ExpertOrder{{0, 1, 2}, {0, 1, 2}}));
  EXPECT_EQ(parse_order("[2,1,0]", 2, 3, "x").value(), (ExpertOrder{{2, 1, 0}, {2, 1, 0}}));
}

TEST(ExpertOrder, RefusesWhatIsNone) {
  for (const char* text :
       {"", "{}", "[]", "[[]]", "[0,1]", "[0,1,3]", "[0,1,1]", "[0,1,2,2]", "[0,1,-1]", "[0,1,0.5]",
        "[[0,1,2]]", "[[0,1,2],[0,1,2],[0,1,2]]", "[[0,1,2],3]", "[[0,1,2],[0,1,\"2\"]]",
        "[[0,1,2],[[0],1,2]]", "[0,1,70000]", "null", "[null]"}) {
    const auto order = parse_order(text, 2, 3, "the.order");
    ASSERT_FALSE(order) << text;
    EXPECT_EQ(order.error().code, Code::kBadData) << text;
    EXPECT_NE(to_line(order.error()).find("the.order"), std::string::npos) << text;
  }
}

}  // namespace
}  // namespace switchyard
