#include "launch/machine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

namespace switchyard {
namespace {

using testing::HasSubstr;

class MachineFileTest : public testing::Test {
 protected:
  void SetUp() override { std::filesystem::remove_all(folder_); }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  void write(const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path());
    std::ofstream(path_) << text;
  }
  Code load_error() const {
    const auto figures = load_machine_figures(path_, "here");
    EXPECT_FALSE(figures);
    return figures ? Code::kInternal : figures.error().code;
  }

  const std::string folder_ = testing::TempDir() + "machine_file_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
  const std::string path_ = folder_ + "/below/machine.json";
};

MachineFigures some_figures(const std::string& host) {
  return {.memory_bytes_per_second = 12.5e9,
          .fma_flops = 3e11,
          .drive_bytes_per_second = 1.25e9,
          .drive_path = "/mnt/models",
          .threads = 2,
          .isa = "avx512",
          .host = host,
          .when = "2026-01-31T12:00:00Z"};
}

TEST_F(MachineFileTest, KeepsEveryFigure) {
  ASSERT_TRUE(save_machine_figures(some_figures("here"), path_));
  const auto loaded = load_machine_figures(path_, "here");
  ASSERT_TRUE(loaded);
  EXPECT_EQ(loaded->memory_bytes_per_second, 12.5e9);
  EXPECT_EQ(loaded->fma_flops, 3e11);
  EXPECT_EQ(loaded->drive_bytes_per_second, 1.25e9);
  EXPECT_EQ(loaded->drive_path, "/mnt/models");
  EXPECT_EQ(loaded->threads, 2U);
  EXPECT_EQ(loaded->isa, "avx512");
  EXPECT_EQ(loaded->host, "here");
  EXPECT_EQ(loaded->when, "2026-01-31T12:00:00Z");
}

TEST_F(MachineFileTest, KeepsWhatKernelsTake) {
  MachineFigures figures = some_figures("here");
  figures.drive_burst_per_second = 2e9;
  figures.drive_latency_seconds = 1e-4;
  figures.kernels.products["BF16"] = {{1, 15e9}, {64, 2e9}};
  figures.kernels.section_seconds = 5e-7;
  figures.kernels.attention_flops = 4e10;
  figures.kernels.row_elements = 7e9;
  figures.kernels.checksum_bytes_per_second = 8e9;
  figures.kernels.interleave_bytes_per_second = 6e9;
  ASSERT_TRUE(save_machine_figures(figures, path_));
  const MachineFigures loaded = load_machine_figures(path_, "here").value();
  EXPECT_EQ(loaded.drive_burst_per_second, 2e9);
  EXPECT_EQ(loaded.drive_latency_seconds, 1e-4);
  const KernelFigures& kernels = loaded.kernels;
  ASSERT_EQ(kernels.products.at("BF16").size(), 2U);
  EXPECT_EQ(kernels.products.at("BF16").back().tokens, 64U);
  EXPECT_EQ(kernels.products.at("BF16").back().weights_per_second, 2e9);
  EXPECT_EQ(kernels.section_seconds, 5e-7);
  EXPECT_EQ(kernels.attention_flops, 4e10);
  EXPECT_EQ(kernels.row_elements, 7e9);
  EXPECT_EQ(kernels.checksum_bytes_per_second, 8e9);
  EXPECT_EQ(kernels.interleave_bytes_per_second, 6e9);
}

TEST_F(MachineFileTest, ADamagedCurveIsNone) {
  for (const char* points :
       {"7", "[7]", R"([{"tokens": 1}])", R"([{"tokens": 0, "weights_per_second": 1}])",
        R"([{"tokens": 2, "weights_per_second": 1}, {"tokens": 1, "weights_per_second": 1}])"}) {
    write(std::string(R"({"machines": {"here": {"kernels": {"products": {"BF16": )") + points +
          "}}}}}");
    EXPECT_TRUE(load_machine_figures(path_, "here").value().kernels.products.empty()) << points;
  }
}

TEST_F(MachineFileTest, KeepsHostsApart) {
  MachineFigures there = some_figures("there");
  there.threads = 64;
  ASSERT_TRUE(save_machine_figures(some_figures("here"), path_));
  ASSERT_TRUE(save_machine_figures(there, path_));
  EXPECT_EQ(load_machine_figures(path_, "here").value().threads, 2U);
  EXPECT_EQ(load_machine_figures(path_, "there").value().threads, 64U);
  EXPECT_EQ(load_machine_figures(path_, "elsewhere").error().code, Code::kNoInput);
}

TEST_F(MachineFileTest, AbsentIsNoInput) { EXPECT_EQ(load_error(), Code::kNoInput); }

TEST_F(MachineFileTest, DamageIsNamedAndMendedByTheNextSave) {
  for (const char* text :
       {"", "{", "[]", "{}", R"({"machines": 1})", R"({"machines": {"here": "fast"}})"}) {
    SCOPED_TRACE(text);
    write(text);
    EXPECT_EQ(load_error(), Code::kBadData);
    EXPECT_THAT(to_line(load_machine_figures(path_, "here").error()), HasSubstr(path_));
    ASSERT_TRUE(save_machine_figures(some_figures("here"), path_));
    EXPECT_TRUE(load_machine_figures(path_, "here"));
  }
}

TEST_F(MachineFileTest, AbsurdValuesCountAsNotMeasured) {
  write(R"({"machines": {"here": {"memory_bytes_per_second": -5, "fma_flops": "many",
                                  "threads": 1e300, "isa": 7}}})");
  const MachineFigures figures = load_machine_figures(path_, "here").value();
  EXPECT_EQ(figures.memory_bytes_per_second, 0);
  EXPECT_EQ(figures.fma_flops, 0);
  EXPECT_EQ(figures.drive_bytes_per_second, 0);
  EXPECT_EQ(figures.threads, 65536U);
  EXPECT_EQ(figures.isa, "");
}

TEST_F(MachineFileTest, ReportsAFolderThatCannotBeMade) {
  write("a file");
  const Status saved = save_machine_figures(some_figures("here"), path_ + "/machine.json");
  ASSERT_FALSE(saved);
  EXPECT_EQ(saved.error().code, Code::kIo);
}

TEST(CacheEnvironment, TheMostParticularVariableWins) {
  CacheEnvironment environment{"/cache", "/xdg", "/home/me"};
  EXPECT_EQ(environment.machine_file(), "/cache/machine.json");
  environment.switchyard_cache.reset();
  EXPECT_EQ(environment.machine_file(), "/xdg/switchyard/machine.json");
  environment.xdg_cache_home.reset();
  EXPECT_EQ(environment.machine_file(), "/home/me/.cache/switchyard/machine.json");
  environment.home.reset();
  EXPECT_EQ(environment.machine_file(), std::nullopt);
}

TEST(MachineFigures, TimesAreUtc) {
  EXPECT_THAT(utc_now(), testing::MatchesRegex("2[0-9]{3}-[01][0-9]-[0-3][0-9]T.*Z"));
  EXPECT_FALSE(host_name().empty());
}

}  // namespace
}  // namespace switchyard
