#include "experts/merge_jobs.h"

#include <gtest/gtest.h>

#include <vector>

namespace switchyard {
namespace {

TEST(MergeJobs, CombinesWhatIsIndependent) {
  const std::vector<PrefetchJob> jobs = {
      {{5, 9}, 0.5, 1}, {{6, 1}, 0.9, 2}, {{5, 2}, 0.6, 1}, {{5, 9}, 0.5, 1}, {{5, 9}, 0.2, 1}};
  const std::vector<PrefetchJob> merged = merge_jobs(jobs);
  ASSERT_EQ(merged.size(), 3u);
  EXPECT_EQ(merged[0].key, (ExpertKey{5, 9}));
  EXPECT_DOUBLE_EQ(merged[0].probability, 1 - 0.5 * 0.5 * 0.8);
  EXPECT_EQ(merged[1].key, (ExpertKey{5, 2}));
  EXPECT_DOUBLE_EQ(merged[1].probability, 0.6);
  EXPECT_EQ(merged[2].key, (ExpertKey{6, 1})) << "surer, but later";
  EXPECT_EQ(merged[2].layers_ahead, 2u);
}

TEST(MergeJobs, NothingStaysNothing) { EXPECT_TRUE(merge_jobs({}).empty()); }

}  // namespace
}  // namespace switchyard
