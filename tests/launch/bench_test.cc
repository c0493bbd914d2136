#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/bench_phases.h"
#include "launch/bench_report.h"
#include "launch/machine.h"
#include "runtime/base/file.h"
#include "runtime/engine/model_spec.h"
#include "tests/launch/program.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

const std::string kFixture = SWITCHYARD_TEST_DATA "/fixtures/olmoe";

TEST(Spread, IsTheMedianWithItsNeighbours) {
  EXPECT_EQ(spread_of({}).median, 0);
  const Spread odd = spread_of({5, 1, 3});
  EXPECT_EQ(odd.median, 3);
  EXPECT_EQ(odd.min, 1);
  EXPECT_EQ(odd.max, 5);
  EXPECT_EQ(spread_of({4, 1, 3, 2}).median, 2.5);
}

TEST(BenchRow, FractionsArePairByPair) {
  BenchRow row{"weights used", "decode", "weights_gb_per_s", "GB/s", "memory_gb_per_s", {}, {}};
  row.add(8, 10);
  row.add(9, 20);
  row.add(1, 0);  // a bound that could not be measured
  EXPECT_THAT(row.fractions(), testing::ElementsAre(0.8, 0.45, 0));
  const Json report = bench_json({row});
  EXPECT_EQ(report["decode"]["weights_gb_per_s"]["max"], 9);
  EXPECT_EQ(report["decode"]["memory_gb_per_s"]["median"], 10);
  EXPECT_EQ(report["decode"]["weights_gb_per_s_of_bound"]["median"], 0.45);
  EXPECT_THAT(bench_table({row}), HasSubstr("weights used"));
  EXPECT_THAT(bench_table({row}), HasSubstr("0.000 … 0.800"));
}

TEST(PromptProductFlops, CountsTheWeightsATokenUses) {
  ModelSpec spec;
  spec.hidden = 8;
  spec.vocab = 100;
  spec.dense_intermediate = 5;
  spec.attention = {.heads = 2, .kv_heads = 1, .head_dim = 4};
  spec.moe = {.experts = 6, .top_k = 2, .intermediate = 3};
  spec.layers = {{.sparse = true}, {.sparse = false}};
  const double attention = 8 * 8 + 8 * 4 + 8 * 4 + 8 * 8;  // q, k, v, o
  const double sparse = attention + 6 * 8 + 2 * 3 * 8 * 3;
  const double dense = attention + 3 * 8 * 5;
  EXPECT_EQ(prompt_product_flops(spec, 10), 2 * (10 * (sparse + dense) + 800));
  spec.moe.shared_intermediate = 7;
  EXPECT_EQ(prompt_product_flops(spec, 10), 2 * (10 * (sparse + dense + 3 * 8 * 7 + 8) + 800));
}

TEST(RandomIds, DependOnSeedAndStreamAlone) {
  const auto ids = random_ids(1, 2, 1000, 50);
  EXPECT_EQ(ids, random_ids(1, 2, 1000, 50));
  EXPECT_NE(ids, random_ids(1, 3, 1000, 50));
  EXPECT_NE(ids, random_ids(2, 2, 1000, 50));
  EXPECT_THAT(ids, testing::Each(testing::AllOf(testing::Ge(0), testing::Lt(50))));
}

class BenchCommandTest : public testing::Test {
 protected:
  void SetUp() override {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
    ::setenv("SWITCHYARD_CACHE", folder_.c_str(), 1);
  }
  void TearDown() override {
    ::unsetenv("SWITCHYARD_CACHE");
    std::filesystem::remove_all(folder_);
  }

  Json report() const {
    return Json::parse(read_text_file(folder_ + "/report.json", 1 << 20).value());
  }

  const std::string folder_ = testing::TempDir() + "bench_command_" +
                              testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(BenchCommandTest, MeasuresAModelInMemory) {
  const Answer answer = run({"bench", kFixture, "--prompt", "20", "-n", "5", "--repeat", "2",
                             "--batch", "3", "-t", "2", "--json", folder_ + "/report.json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("tok/s"));
  const Json made = report();
  EXPECT_EQ(made["batch"], 3);
  EXPECT_EQ(made["threads"], 2);
  for (const char* key : {"tokens_per_second", "ms_per_token", "weights_gb_per_s",
                          "memory_gb_per_s", "weights_gb_per_s_of_bound"}) {
    EXPECT_GT(made["decode"][key]["median"], 0) << key;
    EXPECT_LE(made["decode"][key]["min"], made["decode"][key]["max"]) << key;
  }
  EXPECT_GT(made["prefill"]["gflop_per_s_of_bound"]["median"], 0);
  EXPECT_FALSE(made.contains("reads"));
}

TEST_F(BenchCommandTest, MeasuresReadsWhereExpertsDoNotFit) {
  const Answer answer = run({"bench", kFixture, "--prompt", "20", "-n", "5", "--repeat", "1",
                             "--expert-memory", "30%", "--json", "-"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json made = Json::parse(answer.out);
  EXPECT_LT(made["experts"]["slots"], made["experts"]["count"]);
  EXPECT_GT(made["reads"]["decode_gb_per_s"]["median"], 0);
}

TEST_F(BenchCommandTest, RoutesAsATraceDoes) {
  const std::string trace = std::string(SWITCHYARD_TEST_DATA) + "/traces/qwen3-30b-a3b.csv";
  const Answer answer =
      run({"bench", kFixture, "--prompt", "20", "-n", "5", "--repeat", "1", "--expert-memory",
           "60%", "--drive", "20MB/s", "--replay-routing", trace, "--json", "-"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  const Json made = Json::parse(answer.out);
  EXPECT_EQ(made["routing"], trace);
  EXPECT_EQ(made["predictor"], "none") << "it holds no answers of routers";
  EXPECT_THAT(answer.err, HasSubstr("routing mapped from 48 layers of 128 experts\n"));
  EXPECT_EQ(made["routing_mapped_from"], (Json{{"layers", 48}, {"experts", 128}}));
  EXPECT_LE(made["reads"]["missed_gb_per_s_of_bound"]["median"], 1.2);
  EXPECT_GT(made["decode"]["stall_ms_per_token"]["median"], 0);
  EXPECT_EQ(run({"bench", kFixture, "--replay-routing", kFixture + "/config.json"}).code, 65);
}

// What is learned from may be of another model where what is replayed may be.
TEST_F(BenchCommandTest, LearnsForAReplayFromAMappedTrace) {
  const std::string trace = std::string(SWITCHYARD_TEST_DATA) + "/traces/qwen3-30b-a3b.csv";
  const std::vector<std::string> learning = {
      "bench", kFixture, "--prompt", "4", "-n", "3", "--repeat", "1", "--learn-routing", trace};
  std::vector<std::string> replaying = learning;
  replaying.insert(replaying.end(), {"--replay-routing", trace});
  EXPECT_EQ(run(replaying).code, 0);
  const Answer refused = run(learning);
  EXPECT_EQ(refused.code, 65);
  EXPECT_THAT(refused.err, HasSubstr("records 48 layers of 128 experts"));
}

TEST_F(BenchCommandTest, RefusesWhatItCannotMeasure) {
  EXPECT_EQ(run({"bench", kFixture, "--layout", "D"}).code, 2);
  EXPECT_EQ(run({"bench", kFixture, "--prompt", "1000000"}).code, 2);
  EXPECT_EQ(run({"bench", folder_ + "/none"}).code, 66);
  EXPECT_EQ(run({"bench", kFixture, "--isa", "mmx"}).code, 2);
}

TEST_F(BenchCommandTest, DoctorMeasuresSavesAndReports) {
  MachineFigures known;
  known.drive_bytes_per_second = 5e9;
  known.drive_path = "/elsewhere";
  known.threads = 9;
  known.host = host_name();
  ASSERT_TRUE(save_machine_figures(known));
  const Answer answer =
      run({"doctor", kFixture + "/config.json", "-t", "1", "--json", folder_ + "/report.json"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.out, HasSubstr("saved in " + folder_));
  const Json made = report();
  EXPECT_GT(made["memory_bytes_per_second"], 1e7);
  EXPECT_EQ(made["drive_bytes_per_second"], 0);  // a file too small to tell
  const auto figures = load_machine_figures();
  ASSERT_TRUE(figures);
  EXPECT_EQ(figures->threads, 1U);
  EXPECT_EQ(figures->drive_bytes_per_second, 5e9);  // as known before
  EXPECT_EQ(figures->drive_path, "/elsewhere");
  EXPECT_EQ(figures->fma_flops, made["fma_flops"].get<double>());
  EXPECT_EQ(run({"doctor", folder_ + "/none"}).code, 66);
}

}  // namespace
}  // namespace switchyard
