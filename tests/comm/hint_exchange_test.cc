#include "comm/hint_exchange.h"

#include <gtest/gtest.h>

#include <array>
#include <memory>
#include <vector>

#include "comm/loopback_world.h"

namespace switchyard {
namespace {

using Wanted = std::vector<std::vector<Hint>>;

class HintExchangeTest : public testing::Test {
 protected:
  const std::vector<std::unique_ptr<World>> worlds_ = make_loopback(2);
  HintExchange a_{*worlds_[0], 1}, b_{*worlds_[1], 1};
  std::vector<Hint> wanted_;  // what b was told last
  std::vector<uint64_t> present_;
  uint32_t layer_ = 0, told_ = 0;
  const HintExchange::Sink sink_ = [this](const Hints& hints) {
    wanted_.assign(hints.wanted.begin(), hints.wanted.end());
    present_.assign(hints.present.begin(), hints.present.end());
    layer_ = hints.layer;
    told_ += 1;
  };
};

TEST_F(HintExchangeTest, TakesWhatHasComeAndWaitsForNothing) {
  const Wanted nothing(2);
  b_.begin(1, 0, nothing, std::array{uint64_t{0}});
  ASSERT_TRUE(b_.take(sink_));
  EXPECT_EQ(told_, 0u);
  a_.begin(1, 0, Wanted{{}, {{.expert = 300, .layers_ahead = 2, .probability = 40}}},
           std::array{uint64_t{5}});
  ASSERT_TRUE(b_.take(sink_));
  ASSERT_EQ(told_, 1u);
  ASSERT_EQ(wanted_.size(), 1u);
  EXPECT_EQ(wanted_[0].expert, 300);
  EXPECT_EQ(wanted_[0].layers_ahead, 2);
  EXPECT_EQ(wanted_[0].probability, 40);
  EXPECT_EQ(present_, std::vector<uint64_t>{5});
  ASSERT_TRUE(b_.take(sink_));
  EXPECT_EQ(told_, 1u) << "once";
}

TEST_F(HintExchangeTest, TwoLayersMayBeUnderWay) {
  for (const uint32_t layer : {3U, 4U}) {
    a_.begin(1, layer, Wanted(2), std::array{uint64_t{layer}});
    b_.begin(1, layer, Wanted(2), std::array{uint64_t{layer}});
  }
  ASSERT_TRUE(b_.finish(3, sink_));
  EXPECT_EQ(layer_, 3u);
  EXPECT_EQ(told_, 1u);
  ASSERT_TRUE(b_.finish(4, sink_));
  EXPECT_EQ(layer_, 4u);
  EXPECT_EQ(told_, 2u);
}

TEST_F(HintExchangeTest, SendsTheFirstOfTooManyAndCountsBytes) {
  std::vector<Hint> many(HintExchange::kHintsMax + 3);
  for (size_t i = 0; i < many.size(); ++i) many[i].expert = static_cast<uint16_t>(i);
  a_.begin(1, 2, Wanted{{}, many}, std::array{uint64_t{0}});
  b_.begin(1, 2, Wanted(2), std::array{uint64_t{0}});
  ASSERT_TRUE(b_.finish(2, sink_));
  ASSERT_EQ(wanted_.size(), HintExchange::kHintsMax);
  EXPECT_EQ(wanted_.back().expert, HintExchange::kHintsMax - 1);
  // A head of 16 bytes, 4 a hint, what is present and a checksum.
  const uint64_t bytes = 16 + 4 * HintExchange::kHintsMax + 8 + 8;
  EXPECT_EQ(a_.traffic().at(2).bytes_to, (std::vector<uint64_t>{0, bytes}));
  EXPECT_EQ(b_.traffic().at(2).bytes_to, (std::vector<uint64_t>{bytes, 0}));
}

TEST_F(HintExchangeTest, NamesARankThatIsElsewhere) {
  a_.begin(1, 2, Wanted(2), std::array{uint64_t{0}});
  b_.begin(1, 3, Wanted(2), std::array{uint64_t{0}});
  const Status status = b_.finish(3, sink_);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInternal);
  EXPECT_EQ(status.error().where, "rank 0");
  EXPECT_EQ(told_, 0u);
}

}  // namespace
}  // namespace switchyard
