#include "launch/memory_limit.h"

#include <gtest/gtest.h>

#include "launch/cpu_limit.h"
#include "tests/launch/fake_tree.h"

namespace switchyard {
namespace {

constexpr uint64_t kMiB = 1 << 20;

class MemoryLimitTest : public testing::Test {
 protected:
  void meminfo_mib(uint64_t available) {
    tree_.file("proc/meminfo",
               "MemTotal:       99999999 kB\nMemFree:         1 kB\nMemAvailable:   " +
                   std::to_string(available * 1024) + " kB\n");
  }
  void group(const std::string& folder, const std::string& file, const std::string& text) {
    tree_.file("sys/fs/cgroup/" + folder + "/" + file, text);
  }
  std::string mib(uint64_t count) { return std::to_string(count * kMiB) + "\n"; }
  uint64_t allowed_mib() {
    const auto allowance = memory_allowance(tree_.path());
    return allowance ? allowance->bytes / kMiB : 0;
  }

  FakeTree tree_;
};

TEST_F(MemoryLimitTest, WithoutGroupsIsWhatIsAvailable) {
  meminfo_mib(1000);
  EXPECT_EQ(allowed_mib(), 1000U);
  EXPECT_EQ(memory_allowance(tree_.path())->limited_by, "MemAvailable");
}

TEST_F(MemoryLimitTest, KnowsNothingWithoutProc) { EXPECT_FALSE(memory_allowance(tree_.path())); }

TEST_F(MemoryLimitTest, CountsPageCacheOfVersion1AsFree) {
  meminfo_mib(1000);
  tree_.file("proc/self/cgroup", "9:name=systemd:/\n4:memory:/job/step\n0::/\n");
  group("memory/job/step", "memory.limit_in_bytes", mib(500));
  group("memory/job/step", "memory.usage_in_bytes", mib(300));
  group("memory/job/step", "memory.stat",
        "inactive_file 1\ntotal_inactive_file " + mib(100) + "total_active_file " + mib(50));
  EXPECT_EQ(allowed_mib(), 350U);
}

TEST_F(MemoryLimitTest, AnAncestorMayBeTighter) {
  meminfo_mib(1000);
  tree_.file("proc/self/cgroup", "0::/slice/scope\n");
  group("slice/scope", "memory.max", "max\n");
  group("slice/scope", "memory.current", mib(10));
  group("slice", "memory.max", mib(400));
  group("slice", "memory.current", mib(100));
  group("slice", "memory.stat", "anon 5\ninactive_file 0\n");
  EXPECT_EQ(allowed_mib(), 300U);
  EXPECT_EQ(memory_allowance(tree_.path())->limited_by, tree_.path("sys/fs/cgroup/slice"));
}

TEST_F(MemoryLimitTest, HighLimitsAsMaxDoes) {
  meminfo_mib(1000);
  tree_.file("proc/self/cgroup", "0::/a\n");
  group("a", "memory.max", mib(400));
  group("a", "memory.high", mib(200));
  group("a", "memory.current", mib(50));
  EXPECT_EQ(allowed_mib(), 150U);
}

TEST_F(MemoryLimitTest, InAContainerTheMountIsItsOwnGroup) {
  meminfo_mib(1000);
  tree_.file("proc/self/cgroup", "4:memory:/host/only/path\n");
  group("memory", "memory.limit_in_bytes", mib(250));
  group("memory", "memory.usage_in_bytes", mib(50));
  EXPECT_EQ(allowed_mib(), 200U);
}

TEST_F(MemoryLimitTest, UsageAboveTheLimitLeavesNothing) {
  meminfo_mib(1000);
  tree_.file("proc/self/cgroup", "0::/a\n");
  group("a", "memory.max", mib(100));
  group("a", "memory.current", mib(150));
  EXPECT_EQ(memory_allowance(tree_.path())->bytes, 0U);
}

TEST_F(MemoryLimitTest, PathsThatClimbAreNotFollowed) {
  meminfo_mib(1000);
  tree_.file("proc/self/cgroup", "0::/../../secret\n");
  tree_.file("sys/secret/memory.max", mib(1));
  tree_.folder("sys/fs/cgroup");
  EXPECT_EQ(allowed_mib(), 1000U);
}

TEST(DefaultMemory, KeepsAReserve) {
  EXPECT_EQ(default_memory_bytes(1000 * kMiB), 950 * kMiB);
  EXPECT_EQ(default_memory_bytes(100 * kMiB), 52 * kMiB);
  EXPECT_EQ(default_memory_bytes(60 * kMiB), 30 * kMiB);
  EXPECT_EQ(default_memory_bytes(uint64_t{1} << 40), (uint64_t{1} << 40) - 2048 * kMiB);
}

TEST_F(MemoryLimitTest, CpuQuotaIsTheTightestOfAllGroups) {
  EXPECT_FALSE(cpu_quota(tree_.path()));
  tree_.file("proc/self/cgroup", "0::/a/b\n3:cpu,cpuacct:/c\n");
  group("unified/a/b", "cpu.max", "max 100000\n");
  group("unified/a", "cpu.max", "150000 100000\n");
  EXPECT_EQ(*cpu_quota(tree_.path()), 1.5);
  group("cpu,cpuacct/c", "cpu.cfs_quota_us", "50000\n");
  group("cpu,cpuacct/c", "cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(*cpu_quota(tree_.path()), 0.5);
  EXPECT_EQ(usable_threads(tree_.path()), 1U);
  group("cpu,cpuacct/c", "cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(*cpu_quota(tree_.path()), 1.5);
}

}  // namespace
}  // namespace switchyard
