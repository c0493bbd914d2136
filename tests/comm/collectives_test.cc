#include "comm/collectives.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <thread>

#include "comm/loopback_world.h"
#include "comm/simulated_world.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

constexpr Awaited kAwaited{"a word"};

std::vector<std::byte> some_bytes(uint64_t seed, size_t count) {
  Prng prng(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.next());
  return bytes;
}

std::string some_text(uint64_t seed, size_t count) {
  const auto bytes = some_bytes(seed, count);
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::string line_of(const Status& status) { return status ? "" : to_line(status.error()); }

// Every collective a few times, with every root.
Status do_everything(World& world) {
  for (uint32_t root = 0; root < world.size(); ++root) {
    auto bytes = some_bytes(world.rank() == root ? root : 1000, root * 7);
    TRY_STATUS(broadcast(world, root, bytes, kAwaited));
    EXPECT_EQ(bytes, some_bytes(root, root * 7));

    const std::string text = some_text(root, root * 100);
    const bool is_root = world.rank() == root;
    EXPECT_EQ(TRY(broadcast_text(world, root, is_root ? text : "mine", kAwaited)), text);

    const auto texts = TRY(gather_texts(world, root, some_text(world.rank(), world.rank() * 9),
                                        kAwaited, Channel::kResults));
    EXPECT_EQ(texts.size(), is_root ? world.size() : 0);
    for (size_t rank = 0; rank < texts.size(); ++rank) {
      EXPECT_EQ(texts[rank], some_text(rank, rank * 9));
    }
    TRY_STATUS(barrier(world, kAwaited));
  }
  constexpr size_t kBytes = 5;
  std::vector<std::byte> all(world.size() * kBytes);
  TRY_STATUS(all_gather(world, some_bytes(world.rank(), kBytes), all, kAwaited));
  for (uint32_t rank = 0; rank < world.size(); ++rank) {
    const auto theirs = std::span(all).subspan(rank * kBytes, kBytes);
    EXPECT_THAT(theirs, testing::ElementsAreArray(some_bytes(rank, kBytes)));
  }
  return all_gather(world, {}, {}, kAwaited);
}

TEST(Collectives, WorkBetweenThreads) {
  for (const uint32_t ranks : {1U, 2U, 3U, 5U, 8U}) {
    std::vector<std::thread> threads;
    for (auto& world : make_loopback(ranks)) {
      threads.emplace_back(
          [own = std::move(world)] { EXPECT_EQ(line_of(do_everything(*own)), ""); });
    }
    for (std::thread& thread : threads) thread.join();
  }
}

TEST(Collectives, WorkInEveryOrder) {
  for (uint64_t seed = 0; seed < 50; ++seed) {
    SimulatedHub hub(1 + seed % 8, {.seed = seed, .stall_max_seconds = 1e-3});
    hub.run([](SimulatedWorld& world) { EXPECT_EQ(line_of(do_everything(world)), ""); });
  }
}

// A lost rank ends all of them, on every rank that is left.
TEST(Collectives, FailByName) {
  for (uint64_t seed = 0; seed < 200; ++seed) {
    const auto lost = static_cast<uint32_t>(seed % 3);
    SimulatedHub hub(3, {.seed = seed,
                         .fault = {.kind = SimulatedFault::Kind::kLoseRank,
                                   .rank = lost,
                                   .at_message = 1 + seed % 15}});
    hub.run([&](SimulatedWorld& world) {
      const Status status = do_everything(world);
      ASSERT_FALSE(status);
      EXPECT_THAT(line_of(status), testing::HasSubstr("rank " + std::to_string(lost)));
      world.leave(status.error());
    });
  }
}

TEST(Collectives, ABarrierHoldsEverybodyBack) {
  SimulatedHub hub(4, {});
  hub.run([](SimulatedWorld& world) {
    world.spend(world.rank() == 2 ? 3 : 0.5);
    EXPECT_EQ(line_of(barrier(world, kAwaited)), "");
    EXPECT_GE(world.now_seconds(), 3);
  });
}

// What a rank says is checked before there is room for it.
TEST(Collectives, RefuseATextWithoutBounds) {
  SimulatedHub hub(2, {});
  hub.run([](SimulatedWorld& world) {
    uint64_t length = kTextBytesMax + 1;
    if (world.rank() == 1) {
      const auto bytes = std::as_writable_bytes(std::span(&length, 1));
      EXPECT_EQ(line_of(broadcast(world, 1, bytes, kAwaited)), "");
      return;
    }
    const auto text = broadcast_text(world, 1, {}, kAwaited);
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, Code::kInternal);
    EXPECT_EQ(to_line(text.error()), "rank 1: a word: a text of 1073741825 bytes");
  });
}

}  // namespace
}  // namespace switchyard
