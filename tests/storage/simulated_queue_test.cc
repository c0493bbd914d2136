#include "storage/simulated_queue.h"

#include <gtest/gtest.h>

#include <bit>
#include <cerrno>
#include <vector>

#include "storage/input_file.h"
#include "tests/storage/slab.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using std::chrono::seconds;

constexpr uint32_t kOps = 32;
constexpr size_t kOpPages = 4;

// All that a run shows: order, results, times and bytes.
struct Outcome {
  std::vector<uint64_t> order;
  std::vector<int32_t> results;  // by tag
  std::vector<int64_t> times_ns;
  std::string bytes;
  bool operator==(const Outcome&) const = default;
};

class SimulatedQueueTest : public testing::Test {
 protected:
  SimulatedQueueTest() {
    write_text(path_, text_);
    file_ = InputFile::open(path_).value();
    for (uint32_t i = 0; i < kOps; ++i) {
      ops_.push_back({file_.get(), i * kOpPages * kPageBytes, slab_.pages(i * kOpPages, kOpPages),
                      kOpPages * kPageBytes, 0, i});
    }
  }

  Outcome run(const FaultPlan& plan) {
    ManualClock clock;
    SimulatedQueue queue(kOps, plan, clock);
    std::fill(slab_.span().begin(), slab_.span().end(), std::byte{0});
    for (ReadOp& op : ops_) EXPECT_TRUE(queue.offer(op));
    Outcome outcome;
    outcome.results.resize(kOps);
    while (queue.in_flight() > 0) {
      const auto reaped = queue.reap(1, 1e6);
      EXPECT_TRUE(reaped.has_value());
      for (const ReadOp* op : *reaped) {
        outcome.order.push_back(op->tag);
        outcome.results[op->tag] = op->result;
        outcome.times_ns.push_back(clock.now.count());
      }
    }
    outcome.bytes = text_of(slab_.span());
    return outcome;
  }

  static FaultPlan slow_plan(uint64_t seed) {
    FaultPlan plan;
    plan.seed = seed;
    plan.latency_min = microseconds(20);
    plan.latency_mean = microseconds(80);
    return plan;
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "file";
  const std::string text_ = random_text(kOps * kOpPages * kPageBytes, 2);
  std::shared_ptr<InputFile> file_;
  Slab slab_{kOps * kOpPages};
  std::vector<ReadOp> ops_;
};

TEST_F(SimulatedQueueTest, TheSeedDecidesEverything) {
  FaultPlan plan = slow_plan(11);
  plan.short_read = plan.io_error = plan.bit_flip = 0.2;
  const Outcome outcome = run(plan);
  EXPECT_EQ(outcome, run(plan));
  plan.seed = 12;
  EXPECT_NE(outcome, run(plan));
}

TEST_F(SimulatedQueueTest, CompletesOutOfOrderAndNotBeforeTheLatency) {
  const Outcome outcome = run(slow_plan(5));
  EXPECT_FALSE(std::is_sorted(outcome.order.begin(), outcome.order.end()));
  EXPECT_GE(outcome.times_ns.front(), 20'000);
  EXPECT_TRUE(std::is_sorted(outcome.times_ns.begin(), outcome.times_ns.end()));
  EXPECT_EQ(outcome.bytes, text_);
  EXPECT_EQ(outcome.results, std::vector<int32_t>(kOps, 0));
}

TEST_F(SimulatedQueueTest, IoError) {
  FaultPlan plan;
  plan.io_error = 1;
  EXPECT_EQ(run(plan).results, std::vector<int32_t>(kOps, -EIO));
  const Error error = read_error(ops_[3]);
  EXPECT_EQ(error.code, Code::kIo);
  EXPECT_EQ(error.where, path_);
  EXPECT_NE(error.what.find("49152"), std::string::npos) << error.what;  // its offset
}

TEST_F(SimulatedQueueTest, ShortReadsAreContinuedOrMissed) {
  FaultPlan plan;
  plan.short_read = 1;
  EXPECT_EQ(run(plan).results, std::vector<int32_t>(kOps, -ENODATA));
  plan.short_read = 0.5;
  const Outcome outcome = run(plan);
  int whole = 0;
  for (uint32_t i = 0; i < kOps; ++i) {
    const size_t at = i * kOpPages * kPageBytes;
    const bool same =
        outcome.bytes.compare(at, kOpPages * kPageBytes, text_, at, kOpPages * kPageBytes) == 0;
    EXPECT_EQ(outcome.results[i] == 0, same) << i;
    whole += same;
  }
  EXPECT_GT(whole, 0);
  EXPECT_LT(whole, static_cast<int>(kOps));
}

TEST_F(SimulatedQueueTest, BitFlipChangesOneBitSilently) {
  FaultPlan plan;
  plan.bit_flip = 1;
  const Outcome outcome = run(plan);
  EXPECT_EQ(outcome.results, std::vector<int32_t>(kOps, 0));
  for (uint32_t i = 0; i < kOps; ++i) {
    int flipped = 0;
    for (size_t at = i * kOpPages * kPageBytes; at < (i + 1) * kOpPages * kPageBytes; ++at) {
      flipped += std::popcount(static_cast<unsigned char>(outcome.bytes[at] ^ text_[at]));
    }
    EXPECT_EQ(flipped, 1) << i;
  }
}

TEST_F(SimulatedQueueTest, TimePassesOnlyWhenWaitedFor) {
  ManualClock clock;
  FaultPlan plan;
  plan.latency_min = plan.latency_mean = seconds(2);
  SimulatedQueue queue(4, plan, clock);
  ASSERT_TRUE(queue.offer(ops_[0]));
  EXPECT_TRUE(queue.reap(0, 0).value().empty());
  clock.now += seconds(1);
  EXPECT_TRUE(queue.reap(0, 0).value().empty());
  clock.now += seconds(1);
  EXPECT_EQ(queue.reap(0, 0).value().size(), 1u);
}

TEST_F(SimulatedQueueTest, DeadlineNamesFileAndOffset) {
  ManualClock clock;
  FaultPlan plan;
  plan.latency_min = plan.latency_mean = seconds(100);
  SimulatedQueue queue(4, plan, clock);
  ASSERT_TRUE(queue.offer(ops_[2]));
  const auto late = queue.reap(1, kReadTimeoutSeconds);
  ASSERT_FALSE(late.has_value());
  EXPECT_EQ(late.error().code, Code::kIo);
  EXPECT_EQ(late.error().where, path_);
  EXPECT_NE(late.error().what.find("32768"), std::string::npos) << late.error().what;
  EXPECT_EQ(clock.now, nanoseconds(seconds(60)));
  EXPECT_EQ(queue.in_flight(), 1u);
  EXPECT_EQ(queue.reap(1, kReadTimeoutSeconds).value().size(), 1u);
}

}  // namespace
}  // namespace switchyard
