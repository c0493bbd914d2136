#include "runtime/engine/owners.h"

#include <gtest/gtest.h>

#include <set>
#include <vector>

namespace switchyard {
namespace {

TEST(Owners, AreNamedAsOnTheCommandLine) {
  for (const char* name : {"none", "predicted", "random:7", "adversarial"}) {
    EXPECT_EQ(owners_name(parse_owners(name).value()), name);
  }
  EXPECT_EQ(owners_name(parse_owners("random").value()), "random:1");
  for (const char* wrong : {"", "nobody", "random:", "random:x", "random7"}) {
    const auto read = parse_owners(wrong);
    ASSERT_FALSE(read) << wrong;
    EXPECT_EQ(read.error().code, Code::kUsage);
  }
}

TEST(Owners, TakeTurnsUnlessTold) {
  const Owners owners({}, 3);
  for (uint32_t index = 0; index < 9; ++index) {
    EXPECT_EQ(owners.of_row({.index = index}), index % 3);
  }
}

TEST(Owners, PredictTheRankOfTheLayerBeforeAndTheAdversaryAnother) {
  const Owners predicted({.kind = OwnerKind::kPredicted}, 4);
  const Owners adversary({.kind = OwnerKind::kAdversarial}, 4);
  const OwnerQuestion question{.index = 1, .before = {0b0100, 0}};
  EXPECT_EQ(predicted.of_row(question), 2);
  EXPECT_NE(adversary.of_row(question), 2);
  EXPECT_LT(adversary.of_row({.before = {0b1111, 0}}), 4);
}

TEST(Owners, OfChanceAreTheSameForTheSameSeedAndAnyRank) {
  const Owners one({.kind = OwnerKind::kRandom, .seed = 5}, 4);
  const Owners same({.kind = OwnerKind::kRandom, .seed = 5}, 4);
  std::set<uint8_t> seen;
  for (uint32_t index = 0; index < 64; ++index) {
    const OwnerQuestion question{.index = index, .layer = 2, .position = 9};
    EXPECT_EQ(one.of_row(question), same.of_row(question));
    seen.insert(one.of_row(question));
  }
  EXPECT_EQ(seen.size(), 4u);
}

TEST(Owners, HomesAreSharedEvenlyWhateverIsWished) {
  for (const OwnerKind kind :
       {OwnerKind::kNone, OwnerKind::kPredicted, OwnerKind::kRandom, OwnerKind::kAdversarial}) {
    const Owners owners({.kind = kind}, 3);
    std::vector<uint32_t> held(3);
    for (uint32_t index = 0; index < 6; ++index) held[owners.of_sequence(index, {}, held, 2)] += 1;
    EXPECT_EQ(held, (std::vector<uint32_t>{2, 2, 2}));
  }
}

}  // namespace
}  // namespace switchyard
