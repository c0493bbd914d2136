#include "launch/probes.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "runtime/device/worker_pool.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

class DriveProbeTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string file_of(uint64_t bytes) const {
    const std::string path = folder_ + "/model.safetensors";
    std::ofstream(path) << std::string(bytes, 'x');
    return path;
  }

  const std::string folder_ = testing::TempDir() + "drive_probe_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(DriveProbeTest, ReadsAFileForAsLongAsAsked) {
  const auto rate = measure_drive_file(file_of(uint64_t{9} << 20), 0.05);
  ASSERT_TRUE(rate) << to_line(rate.error());
  EXPECT_GT(rate->bytes_per_second, 0);
  EXPECT_GE(rate->bytes, kDriveProbeBlockBytes);
  EXPECT_NE(rate->queue, "");
}

TEST_F(DriveProbeTest, ReadsSmallFilesInSmallBlocks) {
  const auto rate = measure_drive_file(file_of(100'000), 0.01);
  ASSERT_TRUE(rate) << to_line(rate.error());
  EXPECT_EQ(rate->block_bytes, 24576U);
  EXPECT_GT(rate->bytes_per_second, 0);
}

TEST_F(DriveProbeTest, RefusesWhatIsTooSmallOrMissing) {
  EXPECT_EQ(measure_drive_file(file_of(1000), 0.05).error().code, Code::kBadData);
  EXPECT_EQ(measure_drive_file(folder_ + "/none", 0.05).error().code, Code::kNoInput);
  EXPECT_EQ(measure_drive(folder_ + "/none", 0.05).error().code, Code::kNoInput);
}

TEST_F(DriveProbeTest, AFolderIsMeasuredWithATestFileThatGoes) {
  file_of(1000);
  const auto rate = measure_drive(folder_, 0.05);
  ASSERT_TRUE(rate) << to_line(rate.error());
  EXPECT_GT(rate->bytes_per_second, 0);
  const std::filesystem::directory_iterator entries(folder_);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1);
}

TEST(ProcessorProbes, EveryRowGivesARate) {
  WorkerPool pool(2);
  auto probe = MemoryProbe::create(pool, uint64_t{16} << 20);
  ASSERT_TRUE(probe);
  for (const Kernels& kernels : all_kernels()) {
    if (!kernels.supported()) continue;
    SCOPED_TRACE(kernels.name);
    const MemoryProbe::Rate rate = probe->measure(kernels, 0);
    EXPECT_GT(rate.bytes_per_second, 1e7);
    EXPECT_GE(rate.streams, 1U);
    EXPECT_LE(rate.streams, 8U);
    EXPECT_GT(measure_fma(pool, kernels, 0.01), 1e6);
  }
}

TEST(ProcessorProbes, TheMemoryTestStaysSmallOnSmallMachines) {
  EXPECT_EQ(probe_memory_bytes(0), uint64_t{8} << 20);
  EXPECT_EQ(probe_memory_bytes(uint64_t{1} << 30), uint64_t{256} << 20);
  EXPECT_EQ(probe_memory_bytes(uint64_t{1} << 40), uint64_t{1} << 30);
}

}  // namespace
}  // namespace switchyard
