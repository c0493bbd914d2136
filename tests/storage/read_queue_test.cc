// One suite for every queue.

#include "storage/read_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <memory>
#include <vector>

#include "storage/input_file.h"
#include "storage/pread_queue.h"
#include "storage/rated_queue.h"
#include "storage/simulated_queue.h"
#include "storage/uring_queue.h"
#include "tests/storage/slab.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

constexpr uint32_t kDepth = 8;
constexpr double kTimeoutSeconds = 30;

template <class Queue>
std::unique_ptr<ReadQueue> make_queue(std::span<std::byte> slab);

// Buffers of three pages, so that some operations lie across two of them.
template <>
std::unique_ptr<ReadQueue> make_queue<UringQueue>(std::span<std::byte> slab) {
  auto queue = UringQueue::open(slab, kDepth, true, 3 * kPageBytes);
  return queue ? *std::move(queue) : nullptr;
}

struct BufferedUringQueue {};  // io_uring through the page cache

template <>
std::unique_ptr<ReadQueue> make_queue<BufferedUringQueue>(std::span<std::byte> slab) {
  auto queue = UringQueue::open(slab, kDepth, false);
  return queue ? *std::move(queue) : nullptr;
}

template <>
std::unique_ptr<ReadQueue> make_queue<PreadQueue>(std::span<std::byte>) {
  return std::make_unique<PreadQueue>(kDepth);
}

template <>
std::unique_ptr<ReadQueue> make_queue<SimulatedQueue>(std::span<std::byte>) {
  static ManualClock clock;
  FaultPlan plan;
  plan.seed = 7;
  plan.latency_min = std::chrono::microseconds(50);
  plan.latency_mean = std::chrono::microseconds(100);
  return std::make_unique<SimulatedQueue>(kDepth, plan, clock);
}

template <>
std::unique_ptr<ReadQueue> make_queue<RatedQueue>(std::span<std::byte>) {
  static double now = 0;
  DriveModel model{.bytes_per_second = 1e9, .latency_seconds = 1e-4};
  model.now_seconds = [] { return now; };
  model.sleep_until = [](double until) { now = std::max(now, until); };
  return std::make_unique<RatedQueue>(std::make_unique<PreadQueue>(kDepth), kDepth, model);
}

template <class Queue>
class ReadQueueTest : public testing::Test {
 protected:
  static constexpr size_t kFileBytes = 200 * kPageBytes + 100;
  static constexpr size_t kOpPages = 2;

  void SetUp() override {
    write_text(path_, text_);
    file_ = InputFile::open(path_).value();
    queue_ = make_queue<Queue>(slab_.span());
    if (!queue_) GTEST_SKIP() << "io_uring is not available here";
    for (size_t i = 0; i < ops_.size(); ++i) {
      ops_[i] = {file_.get(), 0, slab_.pages(i * kOpPages, kOpPages), kOpPages * kPageBytes, -1, i};
    }
  }

  // Reaps until nothing is in flight.
  void drain() {
    while (queue_->in_flight() > 0) {
      ASSERT_TRUE(queue_->reap(1, kTimeoutSeconds).has_value());
    }
  }

  // What `op` should have brought.
  std::string_view expected(const ReadOp& op) const {
    return std::string_view(text_).substr(op.offset, op.bytes_needed);
  }
  static std::string_view arrived(const ReadOp& op) {
    return text_of(op.target.first(op.bytes_needed));
  }

  TempFolder folder_;
  const std::string path_ = folder_ / "file";
  const std::string text_ = random_text(kFileBytes, 1);
  std::shared_ptr<InputFile> file_;
  Slab slab_{(kDepth + 1) * kOpPages};
  std::vector<ReadOp> ops_ = std::vector<ReadOp>(kDepth + 1);
  std::unique_ptr<ReadQueue> queue_;
};

using Queues =
    testing::Types<UringQueue, BufferedUringQueue, PreadQueue, SimulatedQueue, RatedQueue>;
TYPED_TEST_SUITE(ReadQueueTest, Queues);

TYPED_TEST(ReadQueueTest, FullQueueRefusesAndKeepsNothing) {
  auto& queue = *this->queue_;
  EXPECT_EQ(queue.depth(), kDepth);
  for (uint32_t i = 0; i < kDepth; ++i) {
    EXPECT_TRUE(queue.offer(this->ops_[i]));
    EXPECT_EQ(queue.in_flight(), i + 1);
  }
  ReadOp& refused = this->ops_[kDepth];
  EXPECT_FALSE(queue.offer(refused));
  ASSERT_TRUE(queue.submit().has_value());
  EXPECT_FALSE(queue.offer(refused));
  EXPECT_EQ(queue.in_flight(), kDepth);
  const auto reaped = queue.reap(kDepth, kTimeoutSeconds);
  ASSERT_TRUE(reaped.has_value());
  EXPECT_EQ(reaped->size(), kDepth);
  EXPECT_EQ(queue.in_flight(), 0u);
  EXPECT_EQ(refused.result, -1);
  EXPECT_TRUE(queue.offer(refused));
  this->drain();
  EXPECT_EQ(refused.result, 0);
}

TYPED_TEST(ReadQueueTest, ManyOperationsToppedUp) {
  constexpr size_t kReads = 400;
  Prng prng(3);
  size_t offered = 0;
  size_t returned = 0;
  std::vector<ReadOp*> idle;
  for (uint32_t i = 0; i < kDepth; ++i) idle.push_back(&this->ops_[i]);
  while (returned < kReads) {
    for (; !idle.empty() && offered < kReads; ++offered) {
      ReadOp& op = *idle.back();
      op.offset = prng.below(198) * kPageBytes;
      ASSERT_TRUE(this->queue_->offer(op));
      idle.pop_back();
    }
    ASSERT_TRUE(this->queue_->submit().has_value());
    const auto reaped = this->queue_->reap(1, kTimeoutSeconds);
    ASSERT_TRUE(reaped.has_value()) << to_line(reaped.error());
    ASSERT_FALSE(reaped->empty());
    for (ReadOp* op : *reaped) {
      ASSERT_EQ(op->result, 0);
      ASSERT_EQ(this->arrived(*op), this->expected(*op)) << op->offset;
      std::fill(op->target.begin(), op->target.end(), std::byte{0});
      idle.push_back(op);
    }
    returned += reaped->size();
  }
  EXPECT_EQ(returned, kReads);
  EXPECT_EQ(this->queue_->in_flight(), 0u);
}

TYPED_TEST(ReadQueueTest, EveryOperationComesBackOnceWithItsOwnBytes) {
  for (uint32_t i = 0; i < kDepth; ++i) {
    this->ops_[i].offset = (kDepth - i) * 7 * kPageBytes;
    ASSERT_TRUE(this->queue_->offer(this->ops_[i]));
  }
  std::vector<int> seen(kDepth, 0);
  while (this->queue_->in_flight() > 0) {
    const auto reaped = this->queue_->reap(1, kTimeoutSeconds);
    ASSERT_TRUE(reaped.has_value());
    for (const ReadOp* op : *reaped) {
      seen[op->tag] += 1;
      EXPECT_EQ(op, &this->ops_[op->tag]);
      EXPECT_EQ(this->arrived(*op), this->expected(*op));
    }
  }
  EXPECT_EQ(seen, std::vector<int>(kDepth, 1));
}

TYPED_TEST(ReadQueueTest, UnalignedEndOfFile) {
  ReadOp& op = this->ops_[0];
  op.offset = 199 * kPageBytes;
  op.bytes_needed = kPageBytes + 100;  // all there is
  ASSERT_TRUE(this->queue_->offer(op));
  this->drain();
  EXPECT_EQ(op.result, 0);
  EXPECT_EQ(this->arrived(op), this->expected(op));
}

TYPED_TEST(ReadQueueTest, ByteBehindTheEndOfFileIsMissed) {
  ReadOp& beyond_by_one = this->ops_[0];
  beyond_by_one.offset = 199 * kPageBytes;
  beyond_by_one.bytes_needed = kPageBytes + 101;
  ReadOp& last_page = this->ops_[1];
  last_page.offset = 200 * kPageBytes;
  last_page.bytes_needed = 101;
  ReadOp& far_beyond = this->ops_[2];
  far_beyond.offset = 1000 * kPageBytes;
  far_beyond.bytes_needed = 1;
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(this->queue_->offer(this->ops_[i]));
  this->drain();
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(this->ops_[i].result, -ENODATA) << i;
    const Error error = read_error(this->ops_[i]);
    EXPECT_EQ(error.code, Code::kBadData);
    EXPECT_EQ(error.where, this->path_);
  }
}

TYPED_TEST(ReadQueueTest, FileTruncatedWhileOpen) {
  std::filesystem::resize_file(this->path_, 3 * kPageBytes);
  this->ops_[0].offset = 2 * kPageBytes;
  ASSERT_TRUE(this->queue_->offer(this->ops_[0]));
  this->drain();
  EXPECT_EQ(this->ops_[0].result, -ENODATA);
  EXPECT_FALSE(this->file_->unchanged().has_value());
}

TYPED_TEST(ReadQueueTest, DestructionWaitsForWhatIsInFlight) {
  for (uint32_t i = 0; i < kDepth; ++i) ASSERT_TRUE(this->queue_->offer(this->ops_[i]));
  ASSERT_TRUE(this->queue_->submit().has_value());
  this->queue_.reset();
  // From here on nobody else may write the slab; a sanitizer or this comparison would notice.
  std::fill(this->slab_.span().begin(), this->slab_.span().end(), std::byte{0x5a});
  for (const std::byte byte : this->slab_.span()) ASSERT_EQ(byte, std::byte{0x5a});
}

TYPED_TEST(ReadQueueTest, DestructionForgetsWhatWasOnlyOffered) {
  ASSERT_TRUE(this->queue_->offer(this->ops_[0]));
  this->queue_.reset();
  EXPECT_EQ(this->ops_[0].result, -1);
}

TYPED_TEST(ReadQueueTest, NothingInFlightReapsNothing) {
  const auto reaped = this->queue_->reap(0, 0);
  ASSERT_TRUE(reaped.has_value());
  EXPECT_TRUE(reaped->empty());
  EXPECT_TRUE(this->queue_->submit().has_value());
}

TYPED_TEST(ReadQueueTest, AMissedDeadlineLosesNothing) {
  for (uint32_t i = 0; i < kDepth; ++i) ASSERT_TRUE(this->queue_->offer(this->ops_[i]));
  const auto late = this->queue_->reap(kDepth, 0);  // may be in time on a fast machine
  if (!late) {
    EXPECT_EQ(late.error().code, Code::kIo);
    EXPECT_EQ(late.error().where, this->path_);
    EXPECT_EQ(this->queue_->in_flight(), kDepth);
    const auto reaped = this->queue_->reap(kDepth, kTimeoutSeconds);
    ASSERT_TRUE(reaped.has_value());
    EXPECT_EQ(reaped->size(), kDepth);
  }
  for (uint32_t i = 0; i < kDepth; ++i) EXPECT_EQ(this->ops_[i].result, 0);
}

TYPED_TEST(ReadQueueTest, OperationsThatBreakTheRulesAreBugs) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  ReadOp op = this->ops_[0];
  op.offset = 1;
  EXPECT_DEATH(this->queue_->offer(op), "offset 1");
  op = this->ops_[0];
  op.target = op.target.subspan(1);
  EXPECT_DEATH(this->queue_->offer(op), "target");
  op = this->ops_[0];
  op.bytes_needed = 0;
  EXPECT_DEATH(this->queue_->offer(op), "0 bytes needed");
}

}  // namespace
}  // namespace switchyard
