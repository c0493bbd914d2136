#include "runtime/device/worker_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <numeric>
#include <thread>
#include <vector>

#include "runtime/device/slab.h"

namespace switchyard {
namespace {

TEST(WorkerPool, RunsEveryThreadOnce) {
  for (const uint32_t threads : {1u, 2u, 5u}) {
    WorkerPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    std::vector<int> calls(threads);
    for (int round = 0; round < 1000; ++round) pool.run([&](uint32_t thread) { ++calls[thread]; });
    EXPECT_EQ(calls, std::vector<int>(threads, 1000));
  }
}

TEST(WorkerPool, WakesThreadsThatFellAsleep) {
  WorkerPool pool(3);
  std::atomic<int> calls{0};
  for (int round = 0; round < 3; ++round) {
    std::this_thread::sleep_for(std::chrono::milliseconds(30));
    pool.run([&](uint32_t) { ++calls; });
  }
  EXPECT_EQ(calls, 9);
}

TEST(WorkerPool, SplitsARangeWithoutGapOrOverlap) {
  WorkerPool pool(3);
  for (const uint32_t count : {0u, 1u, 2u, 3u, 100u}) {
    std::vector<int> seen(count);
    pool.split(count, 1 << 20, [&](uint32_t begin, uint32_t end) {
      for (uint32_t i = begin; i < end; ++i) ++seen[i];
    });
    EXPECT_EQ(seen, std::vector<int>(count, 1));
  }
}

TEST(WorkerPool, PublishesWhatTheCallerWroteAndReadsWhatThreadsWrote) {
  WorkerPool pool(2);
  std::vector<uint64_t> values(64);
  for (uint64_t round = 1; round <= 2000; ++round) {
    values.assign(64, round);
    pool.split(64, 1 << 20, [&](uint32_t begin, uint32_t end) {
      for (uint32_t i = begin; i < end; ++i) values[i] += i;
    });
    ASSERT_EQ(std::accumulate(values.begin(), values.end(), uint64_t{0}), round * 64 + 2016);
  }
}

TEST(Slab, IsZeroedAndAligned) {
  for (const size_t bytes : {size_t{1}, size_t{5000}, size_t{9} << 20}) {
    const Slab slab = Slab::allocate(bytes, "a test").value();
    ASSERT_GE(slab.size(), bytes);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(slab.data()) % 4096, 0u);
    for (const std::byte byte : slab.span()) ASSERT_EQ(byte, std::byte{0});
  }
}

TEST(Slab, SaysWhatDidNotFit) {
  const auto slab = Slab::allocate(size_t{1} << 60, "a test");
  ASSERT_FALSE(slab.has_value());
  EXPECT_EQ(slab.error().code, Code::kNoMemory);
}

}  // namespace
}  // namespace switchyard
