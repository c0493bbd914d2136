#include "runtime/engine/rank_command.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

RankCommand some_step() {
  RankCommand command{.kind = RankCommand::Kind::kStep,
                      .number = 12,
                      .ways = {ExchangeWay::kSparse, ExchangeWay::kGather},
                      .halves = true};
  command.plan.parts = {{SequenceId{3}, {1, 2, 700}, LogitsWanted::kAll, true},
                        {SequenceId{1}, {9}, LogitsWanted::kBest}};
  return command;
}

TEST(RankCommand, ComesAsItWent) {
  const RankCommand went = some_step(), came = decode_command(encode(went)).value();
  EXPECT_EQ(came.kind, went.kind);
  EXPECT_EQ(came.number, went.number);
  EXPECT_EQ(came.ways, went.ways);
  EXPECT_EQ(came.halves, went.halves);
  ASSERT_EQ(came.plan.parts.size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(came.plan.parts[i].sequence, went.plan.parts[i].sequence);
    EXPECT_EQ(came.plan.parts[i].tokens, went.plan.parts[i].tokens);
    EXPECT_EQ(came.plan.parts[i].logits, went.plan.parts[i].logits);
    EXPECT_EQ(came.plan.parts[i].prompt, went.plan.parts[i].prompt);
  }
}

TEST(RankCommand, CutOrLongerIsNone) {
  const std::string whole = encode(some_step());
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(decode_command(std::string_view(whole).substr(0, length))) << length;
  }
  EXPECT_FALSE(decode_command(whole + "x"));
}

// Numbers of parts and tokens that are not there are not believed.
TEST(RankCommand, AnyByteMayBeWrong) {
  const std::string whole = encode(some_step());
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char value : {'\xff', '\x7f', '\0'}) {
      std::string wrong = whole;
      wrong[at] = value;
      (void)decode_command(wrong);
    }
  }
}

}  // namespace
}  // namespace switchyard
