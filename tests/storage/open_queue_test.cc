#include "storage/open_queue.h"

#include <gtest/gtest.h>

#include "storage/uring_queue.h"
#include "tests/storage/slab.h"

namespace switchyard {
namespace {

TEST(OpenQueue, FallsBackLoudlyOrNotAtAll) {
  Slab slab(4);
  const bool uring_works = UringQueue::open(slab.span(), 4, true).has_value();
  const QueueChoice choice = open_read_queue(slab.span(), 4, true);
  ASSERT_NE(choice.queue, nullptr);
  EXPECT_EQ(choice.queue->depth(), 4u);
  EXPECT_EQ(choice.queue->name().starts_with("io_uring"), uring_works);
  EXPECT_EQ(choice.warning.empty(), uring_works);
}

TEST(OpenQueue, AnImpossibleDepthFallsBackToPread) {
  Slab slab(4);
  const QueueChoice choice = open_read_queue(slab.span(), 1u << 20, true);  // io_uring ends at 2^15
  EXPECT_EQ(choice.queue->name(), "pread");
  EXPECT_NE(choice.warning.find("pread"), std::string::npos);
  EXPECT_NE(choice.warning.find("io_uring"), std::string::npos);
}

}  // namespace
}  // namespace switchyard
