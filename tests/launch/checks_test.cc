#include "launch/checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace switchyard {
namespace {

using testing::HasSubstr;

// A machine made of files.
class ChecksTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(root_);
    put("/proc/self/cgroup", "0::/job\n");
    put("/proc/meminfo", "MemTotal:       33554432 kB\nMemAvailable:   16777216 kB\n");
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void put(const std::string& path, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << text;
  }

  const std::string root_ = testing::TempDir() + "checks_" +
                            testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(ChecksTest, AllCoresWithoutAQuota) {
  const Check check = check_cores(root_);
  EXPECT_EQ(check.state, CheckState::kOk);
  EXPECT_EQ(check.mend, "");
}

TEST_F(ChecksTest, AQuotaLimitsTheThreads) {
  put("/sys/fs/cgroup/job/cpu.max", "50000 100000\n");
  const Check check = check_cores(root_);
  EXPECT_EQ(check.state, CheckState::kLimited);
  EXPECT_THAT(check.value, HasSubstr("grants 0.50"));
  EXPECT_THAT(check.value, HasSubstr("1 thread used"));
  EXPECT_THAT(check.mend, HasSubstr("--cpus"));
}

TEST_F(ChecksTest, AQuotaOfVersion1LimitsToo) {
  put("/proc/self/cgroup", "4:cpu,cpuacct:/job\n");
  put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "25000\n");
  put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
  EXPECT_THAT(check_cores(root_).value, HasSubstr("grants 0.25"));
}

TEST_F(ChecksTest, MemoryOfTheMachine) {
  const Check check = check_memory(root_);
  EXPECT_EQ(check.state, CheckState::kOk);
  EXPECT_EQ(check.value, "16.0 GiB free of 32.0 GiB; no cgroup limits it further");
}

TEST_F(ChecksTest, ACgroupLimitsMemory) {
  put("/sys/fs/cgroup/job/memory.max", "1073741824\n");
  put("/sys/fs/cgroup/job/memory.current", "0\n");
  const Check check = check_memory(root_);
  EXPECT_EQ(check.state, CheckState::kLimited);
  EXPECT_THAT(check.value, HasSubstr("1.00 GiB free of 32.0 GiB"));
  EXPECT_THAT(check.value, HasSubstr("/sys/fs/cgroup/job"));
  EXPECT_THAT(check.mend, HasSubstr("--mem"));
}

TEST_F(ChecksTest, HugePagesByMode) {
  const std::string file = "/sys/kernel/mm/transparent_hugepage/enabled";
  EXPECT_EQ(check_huge_pages(root_).value, "none");
  put(file, "always [madvise] never\n");
  EXPECT_EQ(check_huge_pages(root_).state, CheckState::kOk);
  EXPECT_EQ(check_huge_pages(root_).value, "madvise");
  put(file, "always madvise [never]\n");
  EXPECT_EQ(check_huge_pages(root_).state, CheckState::kLimited);
}

TEST_F(ChecksTest, EveryCheckOfThisMachineSaysSomething) {
  for (const Check& check :
       {check_cores(""), check_instruction_sets(), check_numa(), check_memory(""),
        check_huge_pages(""), check_io_uring(""), check_memlock(), check_mpi(), check_cuda()}) {
    EXPECT_NE(check.name, "");
    EXPECT_NE(check.value, "") << check.name;
    EXPECT_TRUE(check.state == CheckState::kOk || check.mend != "") << check.name;
  }
}

TEST(ChecksTable, AlignsNamesAndPutsMendsBelow) {
  const std::vector<Check> checks = {{"a", CheckState::kOk, "fine", ""},
                                     {"longer", CheckState::kMissing, "none", "get it"}};
  EXPECT_EQ(checks_table(checks),
            "ok       a       fine\n"
            "missing  longer  none\n"
            "                 -> get it\n");
}

}  // namespace
}  // namespace switchyard
