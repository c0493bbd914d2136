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

RankCommand some_placement() {
  return {.kind = RankCommand::Kind::kPlace,
          .placement = {.ranks = 3, .holders = {{1, 2, 4, 5}, {7, 1, 1, 2}}}};
}

TEST(RankCommand, APlacementComesAsItWent) {
  const RankCommand went = some_placement(), came = decode_command(encode(went)).value();
  EXPECT_EQ(came.kind, went.kind);
  EXPECT_EQ(came.placement.ranks, went.placement.ranks);
  EXPECT_EQ(came.placement.holders, went.placement.holders);
}

TEST(RankCommand, APlacementOnNobodyOrOnRanksThatAreNotThereIsNone) {
  for (const RankSet wrong : {RankSet{0}, RankSet{8}, RankSet{1} << 63}) {
    RankCommand command = some_placement();
    command.placement.holders[1][2] = wrong;
    EXPECT_FALSE(decode_command(encode(command))) << wrong;
  }
  for (const uint32_t ranks : {0U, 65U}) {
    RankCommand command = some_placement();
    command.placement.ranks = ranks;
    EXPECT_FALSE(decode_command(encode(command))) << ranks;
  }
  RankCommand most = some_placement();
  most.placement = {.ranks = 64, .holders = {{RankSet{1} << 63}}};
  EXPECT_TRUE(decode_command(encode(most)));
}

class EveryCommand : public testing::TestWithParam<RankCommand> {};

TEST_P(EveryCommand, CutOrLongerIsNone) {
  const std::string whole = encode(GetParam());
  for (size_t length = 0; length < whole.size(); ++length) {
    EXPECT_FALSE(decode_command(std::string_view(whole).substr(0, length))) << length;
  }
  EXPECT_FALSE(decode_command(whole + "x"));
}

// Numbers of parts, tokens and experts that are not there are not believed.
TEST_P(EveryCommand, AnyByteMayBeWrong) {
  const std::string whole = encode(GetParam());
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const char value : {'\xff', '\x7f', '\0'}) {
      std::string wrong = whole;
      wrong[at] = value;
      (void)decode_command(wrong);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, EveryCommand, testing::Values(some_step(), some_placement()));

}  // namespace
}  // namespace switchyard
