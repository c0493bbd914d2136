#include "launch/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

std::string ids_error(std::string_view text) {
  const auto ids = parse_ids(text);
  if (ids) return "accepted";
  EXPECT_EQ(ids.error().code, Code::kUsage);
  return ids.error().what;
}

TEST(ParseIds, TakesCommasBlanksAndBrackets) {
  EXPECT_THAT(*parse_ids("1,2,3"), ElementsAre(1, 2, 3));
  EXPECT_THAT(*parse_ids(" 1 2\n3 "), ElementsAre(1, 2, 3));
  EXPECT_THAT(*parse_ids("[1, 2 ,3]\n"), ElementsAre(1, 2, 3));
  EXPECT_THAT(*parse_ids("2147483647"), ElementsAre(2147483647));
}

TEST(ParseIds, TakesNothingForNothing) {
  EXPECT_THAT(*parse_ids(""), IsEmpty());
  EXPECT_THAT(*parse_ids("[ ]"), IsEmpty());
}

TEST(ParseIds, NamesWhatIsNoId) {
  EXPECT_THAT(ids_error("1,-2"), HasSubstr("'-2'"));
  EXPECT_THAT(ids_error("1,x"), HasSubstr("'x'"));
  EXPECT_THAT(ids_error("2147483648"), HasSubstr("'2147483648'"));
  EXPECT_THAT(ids_error("1.5"), HasSubstr("'1.5'"));
  EXPECT_THAT(ids_error("+1"), HasSubstr("'+1'"));
}

TEST(ParseIds, RefusesHalfLists) {
  EXPECT_THAT(ids_error("[1,2"), HasSubstr("not a list"));
  EXPECT_THAT(ids_error("["), HasSubstr("not a list"));
  EXPECT_THAT(ids_error("1,,2"), HasSubstr("missing"));
  EXPECT_THAT(ids_error(",1"), HasSubstr("missing"));
  EXPECT_THAT(ids_error("1,"), HasSubstr("missing"));
}

TEST(ParseIds, ShowsOnlyTheBeginningOfLongText) {
  EXPECT_LT(ids_error(std::string(100000, 'y')).size(), 100U);
}

TEST(CheckIds, NamesTheFirstIdPastTheVocabulary) {
  EXPECT_TRUE(check_ids({0, 9}, 10));
  const Status status = check_ids({0, 10, 11}, 10);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kUsage);
  EXPECT_THAT(status.error().what, HasSubstr("id 10 "));
}

TEST(ParseInteger, HoldsItsRange) {
  EXPECT_EQ(*parse_integer("-1", -1, 5), -1);
  EXPECT_EQ(*parse_integer("5", -1, 5), 5);
  EXPECT_FALSE(parse_integer("6", -1, 5));
  EXPECT_FALSE(parse_integer("-2", -1, 5));
  EXPECT_FALSE(parse_integer("", -1, 5));
  EXPECT_FALSE(parse_integer("3x", -1, 5));
  EXPECT_FALSE(parse_integer("99999999999999999999", INT64_MIN, INT64_MAX));
}

TEST(ParseNumber, RefusesWhatIsNotFinite) {
  EXPECT_EQ(*parse_number("0.5", 0, 1), 0.5);
  for (const char* bad : {"nan", "inf", "-inf", "1e999", "", "0,5", "1.0x", "1.5"}) {
    EXPECT_FALSE(parse_number(bad, 0, 1)) << bad;
  }
}

TEST(ParseSeed, TakesAllOf64Bits) {
  EXPECT_EQ(*parse_seed("18446744073709551615"), UINT64_MAX);
  EXPECT_FALSE(parse_seed("18446744073709551616"));
  EXPECT_FALSE(parse_seed("-1"));
}

}  // namespace
}  // namespace switchyard
