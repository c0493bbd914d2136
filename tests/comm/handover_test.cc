#include "comm/handover.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "runtime/base/clock.h"

namespace switchyard {
namespace {

// The other thread, which completes what it is handed.
void carry(Handover& handover, uint32_t& carried) {
  std::vector<Message*> messages;
  while (!handover.orders()) {
    messages.clear();
    handover.take(messages);
    for (Message* message : messages) handover.complete(*message);
    carried += static_cast<uint32_t>(messages.size());
    handover.rest(0.1);
  }
  handover.close();
}

TEST(HandoverTest, HandsMessagesOverAndBack) {
  Handover handover;
  uint32_t carried = 0;
  std::thread other([&] { carry(handover, carried); });
  constexpr uint32_t kRounds = 2000;
  for (uint32_t round = 0; round < kRounds; ++round) {
    std::vector<Message> messages(1 + round % 3);
    for (Message& message : messages) handover.post(message);
    for (Message& message : messages) {
      if (round % 5 == 0) std::this_thread::yield();
      ASSERT_TRUE(handover.wait(message, {"rows", 3}, 10).has_value());
      EXPECT_TRUE(handover.is_over(message));
    }
  }
  EXPECT_TRUE(handover.end(10));
  other.join();
  EXPECT_EQ(carried, 3999U);
}

TEST(HandoverTest, WakesTheOtherFromARest) {
  Handover handover;
  std::thread other([&] {
    std::vector<Message*> messages;
    while (messages.empty()) {
      handover.take(messages);
      if (messages.empty()) handover.rest(100);
    }
    handover.complete(*messages[0]);
    handover.close();
  });
  sleep_until_seconds(now_seconds() + 0.05);
  Message message;
  const double begin = now_seconds();
  handover.post(message);
  EXPECT_TRUE(handover.wait(message, {"rows", 3}, 50).has_value());
  EXPECT_LT(now_seconds() - begin, 20);
  other.join();
}

TEST(HandoverTest, SaysWhatTheRankWaitsFor) {
  Handover handover;
  Message message;
  std::thread other([&] {
    while (!handover.rank_waits()) std::this_thread::yield();
    handover.look_at_wait([&](const Handover::Wait& wait) {
      EXPECT_EQ(wait.message, &message);
      EXPECT_EQ(wait.awaited.what, "rows");
      EXPECT_EQ(wait.awaited.layer, 3);
    });
    handover.complete(message);
  });
  EXPECT_TRUE(handover.wait(message, {"rows", 3}, 50).has_value());
  other.join();
  handover.look_at_wait([&](const Handover::Wait& wait) { EXPECT_EQ(wait.message, nullptr); });
}

TEST(HandoverTest, AFailureIsForGood) {
  Handover handover;
  Message message;
  std::thread other([&] {
    while (!handover.rank_waits()) std::this_thread::yield();
    sleep_until_seconds(now_seconds() + 0.01);  // the rank sleeps by now
    handover.fail({Code::kUnavailable, "silent", "rank 2", {}});
    handover.fail({Code::kInternal, "something else", {}, {}});
  });
  for (int turn = 0; turn < 2; ++turn) {
    const Status waited = handover.wait(message, {"rows", 3}, 50);
    ASSERT_FALSE(waited.has_value());
    EXPECT_EQ(waited.error().where, "rank 2");
  }
  EXPECT_EQ(handover.failure()->what, "silent");
  other.join();
}

// As when a call of MPI does not return.
TEST(HandoverTest, NoticesThatTheOtherStandsStill) {
  Handover handover;
  Message message;
  const Status waited = handover.wait(message, {"rows", 3}, 0.3);
  ASSERT_FALSE(waited.has_value());
  EXPECT_EQ(waited.error().code, Code::kUnavailable);
  EXPECT_THAT(waited.error().what, testing::HasSubstr("has not returned"));
  EXPECT_FALSE(handover.end(0.3));
  EXPECT_FALSE(handover.leave({}, 0.01));
}

TEST(HandoverTest, WhoHasLeftIsOutWhateverTheOtherDoes) {
  Handover handover;
  EXPECT_FALSE(handover.leave({Code::kIo, "the drive failed", {}, {}}, 0.01));
  Message message;
  const Status waited = handover.wait(message, {"rows", 3}, 50);
  ASSERT_FALSE(waited.has_value());
  EXPECT_EQ(waited.error().code, Code::kIo);
}

}  // namespace
}  // namespace switchyard
