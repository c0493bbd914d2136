#include "storage/rated_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <vector>

#include "runtime/base/align.h"

namespace switchyard {
namespace {

class RatedQueueTest : public testing::Test {
 protected:
  // A drive of 1 MB/s and 1 ms that exists in time alone.
  RatedQueueTest() {
    DriveModel model{.bytes_per_second = 1e6, .latency_seconds = 1e-3};
    model.now_seconds = [this] { return now_; };
    model.sleep_until = [this](double until) { now_ = std::max(now_, until); };
    queue_ = std::make_unique<RatedQueue>(nullptr, 4, model);
    for (ReadOp& op : ops_) op.bytes_needed = 1000;
  }

  double now_ = 5;
  std::array<ReadOp, 5> ops_;
  std::unique_ptr<RatedQueue> queue_;
};

TEST_F(RatedQueueTest, ReadsAreServedInTurnAtTheRate) {
  for (int i = 0; i < 4; ++i) ASSERT_TRUE(queue_->offer(ops_[i]));
  EXPECT_FALSE(queue_->offer(ops_[4]));
  EXPECT_TRUE(queue_->reap(0, 1)->empty());
  EXPECT_EQ(queue_->reap(1, 1)->front(), &ops_[0]);
  EXPECT_DOUBLE_EQ(now_, 5.002);
  EXPECT_EQ(queue_->reap(3, 1)->size(), 3u);
  EXPECT_DOUBLE_EQ(now_, 5.005);
  EXPECT_EQ(queue_->in_flight(), 0u);
}

TEST_F(RatedQueueTest, AnIdleDriveLosesItsTime) {
  ASSERT_TRUE(queue_->offer(ops_[0]));
  ASSERT_TRUE(queue_->reap(1, 1));
  now_ = 9;
  ASSERT_TRUE(queue_->offer(ops_[1]));
  ASSERT_TRUE(queue_->submit());
  now_ = 9.0015;
  EXPECT_TRUE(queue_->reap(0, 1)->empty());
  now_ = 9.0021;
  EXPECT_EQ(queue_->reap(0, 1)->size(), 1u);
}

}  // namespace
}  // namespace switchyard
