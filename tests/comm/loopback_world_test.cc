#include "comm/loopback_world.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "runtime/base/clock.h"
#include "tests/comm/traffic.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

// Runs `body` for every rank on a thread of its own, which destroys its world in the end.
void run_ranks(uint32_t ranks, const WorldLimits& limits,
               const std::function<void(std::unique_ptr<World>)>& body) {
  std::vector<std::thread> threads;
  for (auto& world : make_loopback(ranks, limits)) {
    threads.emplace_back([&body, own = std::move(world)]() mutable { body(std::move(own)); });
  }
  for (std::thread& thread : threads) thread.join();
}

std::vector<std::byte> filled(size_t bytes, uint8_t value = 7) {
  return std::vector<std::byte>(bytes, std::byte{value});
}

TEST(LoopbackWorld, CarriesEveryByteOfRandomTraffic) {
  for (const uint32_t ranks : {2U, 3U, 5U, 8U}) {
    for (uint64_t seed = 0; seed < 30; ++seed) {
      std::vector<TrafficEnd> ends(ranks);
      run_ranks(ranks, {}, [&](std::unique_ptr<World> world) {
        ends[world->rank()] = run_traffic(*world, {.seed = seed, .messages = 8 * ranks});
      });
      for (const TrafficEnd& end : ends) {
        ASSERT_TRUE(end.status) << to_line(end.status.error());
        EXPECT_EQ(end.wrong, 0U);
      }
    }
  }
}

TEST(LoopbackWorld, KeepsTheOrderOfAChannelAndNoOther) {
  const auto worlds = make_loopback(2);
  const auto first = filled(3, 1), second = filled(3, 2), other = filled(3, 3);
  const auto a = worlds[0]->send(1, Channel::kRows, first);
  const auto b = worlds[0]->send(1, Channel::kRows, second);
  const auto c = worlds[0]->send(1, Channel::kCounts, other);
  EXPECT_FALSE(worlds[0]->poll(c).value()) << "nobody receives yet";
  auto got = filled(3, 0), got_other = got;
  EXPECT_TRUE(worlds[1]->poll(worlds[1]->receive(0, Channel::kCounts, got_other)).value());
  EXPECT_EQ(got_other, other);
  for (const auto* bytes : {&first, &second}) {
    EXPECT_TRUE(worlds[1]->wait(worlds[1]->receive(0, Channel::kRows, got), {"rows"}));
    EXPECT_EQ(got, *bytes);
  }
  for (const auto ticket : {a, b, c}) EXPECT_TRUE(worlds[0]->wait(ticket, {"rows"}));
}

TEST(LoopbackWorld, RefusesAnotherLength) {
  const auto worlds = make_loopback(2);
  const auto sent = filled(12);
  auto got = filled(16, 0);
  const auto ticket = worlds[1]->receive(0, Channel::kRows, got);
  const auto mine = worlds[0]->send(1, Channel::kRows, sent);
  EXPECT_TRUE(worlds[0]->wait(mine, {"rows"}));
  const Status status = worlds[1]->wait(ticket, {"rows", 3});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kInternal);
  EXPECT_EQ(to_line(status.error()),
            "rank 0: a message of 12 bytes instead of 16 while this rank waited for rows of "
            "layer 3");
  EXPECT_EQ(got, filled(16, 0));
  const Status later = worlds[1]->wait(worlds[1]->send(0, Channel::kControl, sent), {"a word"});
  ASSERT_FALSE(later);
  EXPECT_EQ(to_line(later.error()), to_line(status.error()));
}

TEST(LoopbackWorld, TellsEverybodyWhyARankLeft) {
  std::vector<std::string> lines(3);
  std::vector<Code> codes(3);
  run_ranks(3, {}, [&](std::unique_ptr<World> world) {
    auto bytes = filled(4);
    if (world->rank() == 2) {
      world->leave({Code::kIo, "cannot read", "expert 7", {}});
      return;
    }
    // Neither awaits anything of rank 2.
    const auto ticket = world->receive(1 - world->rank(), Channel::kRows, bytes);
    for (int again = 0; again < 2; ++again) {
      const Status status = world->wait(ticket, {"rows", 3});
      if (status) continue;
      lines[world->rank()] = to_line(status.error());
      codes[world->rank()] = status.error().code;
    }
    EXPECT_FALSE(world->poll(world->send(2, Channel::kRows, bytes)));
  });
  for (const uint32_t rank : {0, 1}) {
    EXPECT_EQ(lines[rank], "rank 2: expert 7: cannot read");
    EXPECT_EQ(codes[rank], Code::kIo);
  }
}

TEST(LoopbackWorld, ARankThatIsGoneHasLeft) {
  auto worlds = make_loopback(3);
  auto bytes = filled(4), got = filled(4, 0);
  worlds[2].reset();
  const auto between = worlds[1]->send(0, Channel::kRows, bytes);
  EXPECT_TRUE(worlds[0]->wait(worlds[0]->receive(1, Channel::kRows, got), {"rows"}))
      << "those who want nothing from it go on";
  EXPECT_TRUE(worlds[1]->poll(between).value());
  const Status status = worlds[0]->wait(worlds[0]->send(2, Channel::kRows, bytes), {"rows", 3});
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Code::kUnavailable);
  EXPECT_THAT(to_line(status.error()), HasSubstr("rank 2: left"));
  EXPECT_THAT(to_line(status.error()), HasSubstr("rows of layer 3"));
}

TEST(LoopbackWorld, ARankThatGoesWakesThoseWhoWait) {
  run_ranks(5, {}, [](std::unique_ptr<World> world) {
    auto bytes = filled(4);
    if (world->rank() == 0) return;
    const Status status = world->wait(world->receive(0, Channel::kState, bytes), {"state"});
    ASSERT_FALSE(status);
    EXPECT_THAT(to_line(status.error()), HasSubstr("rank "));
  });
}

// What a rank began before it failed is never touched again.
TEST(LoopbackWorld, NothingIsInFlightAfterAnError) {
  const auto worlds = make_loopback(2, {.wait_seconds = 0.02});
  const double begin = now_seconds();
  auto got = filled(4, 0);
  const auto sent = filled(4);
  const auto ticket = worlds[0]->receive(1, Channel::kRows, got);
  const Status status = worlds[0]->wait(ticket, {"rows", 3});
  ASSERT_FALSE(status);
  EXPECT_EQ(to_line(status.error()),
            "rank 1: nothing after 0.02 s while waiting for rows of layer 3");
  EXPECT_EQ(status.error().code, Code::kUnavailable);
  EXPECT_GE(now_seconds() - begin, 0.02);
  EXPECT_FALSE(worlds[1]->poll(worlds[1]->send(0, Channel::kRows, sent)).value());
  EXPECT_EQ(got, filled(4, 0));
}

TEST(LoopbackWorld, ARankMayBeAlone) {
  const auto worlds = make_loopback(1);
  EXPECT_EQ(worlds[0]->size(), 1U);
  worlds[0]->leave({Code::kFailed, "enough", {}, {}});
}

}  // namespace
}  // namespace switchyard
