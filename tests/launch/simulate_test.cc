// The simulate command and what other commands do with routing traces of other shapes or lengths.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "runtime/base/json.h"
#include "tests/launch/program.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::Not;

const std::string kTrace = SWITCHYARD_TEST_DATA "/traces/qwen3-30b-a3b.csv";
const std::string kFixture = SWITCHYARD_TEST_DATA "/fixtures/olmoe";

TEST(SimulateCommand, MapsATraceToAModel) {
  const Answer answer = run({"simulate", "--trace", kTrace, "--model", kFixture, "--capacity",
                             "100%", "--bandwidth", "1GB/s", "--compute", "1us", "--json", "-"});
  ASSERT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.err, HasSubstr("routing mapped from 48 layers of 128 experts\n"));
  const Json json = Json::parse(answer.out);
  EXPECT_EQ(json["experts"], 3 * 16);
  const uint64_t expert_bytes = 3 * 48 * 64 * 4;
  EXPECT_EQ(json["bytes_read"], json["misses"].get<uint64_t>() * expert_bytes);
  EXPECT_EQ(run({"simulate", "--trace", kTrace, "--model", kFixture + "/none"}).code, 66);
}

TEST(SimulateCommand, LeavesATraceOfTheModelAsItIs) {
  const TempFolder folder;
  const std::string trace = folder / "own.route";
  ASSERT_EQ(
      run({"run", kFixture, "--ids", "1,2,3", "-n", "8", "--ignore-eos", "--record-routing", trace})
          .code,
      0);
  std::vector<std::string> command = {
      "simulate", "--trace", trace, "--bandwidth", "1GB/s", "--compute", "1us", "--json", "-"};
  const Answer plain = run(command);
  command.insert(command.end(), {"--model", kFixture});
  const Answer mapped = run(command);
  ASSERT_EQ(mapped.code, 0) << mapped.err;
  EXPECT_EQ(mapped.out, plain.out);
  EXPECT_THAT(mapped.err, Not(HasSubstr("mapped")));
}

TEST(RoutingTraces, ACutOneIsUsedAsFarAsItGoesAndSaysSo) {
  const TempFolder folder;
  const std::string trace = folder / "cut.route";
  ASSERT_EQ(
      run({"run", kFixture, "--ids", "1,2,3", "-n", "8", "--ignore-eos", "--record-routing", trace})
          .code,
      0);
  std::filesystem::resize_file(trace, std::filesystem::file_size(trace) - 1);
  const auto expect_warned = [&](const std::vector<std::string>& command) {
    const Answer answer = run(command);
    EXPECT_EQ(answer.code, 0) << answer.err;
    EXPECT_THAT(answer.err, HasSubstr("warning: " + trace + ": the last step is torn"));
    EXPECT_THAT(answer.err, HasSubstr("behind 7 steps"));
  };
  expect_warned({"run", kFixture, "--ids", "1", "-n", "1", "--ranks", "2", "--placement",
                 "replicated", "--learn-routing", trace});
  expect_warned(
      {"bench", kFixture, "--prompt", "4", "-n", "2", "--repeat", "1", "--replay-routing", trace});
}

TEST(RoutingTraces, WhatIsLearnedChangesNoResult) {
  const TempFolder folder;
  const std::string trace = folder / "own.route";
  std::vector<std::string> command = {"run", kFixture,       "--ids",  "1,2,3", "-n",
                                      "24",  "--ignore-eos", "--temp", "0",     "--expert-memory",
                                      "30%", "--json",       "-"};
  std::vector<std::string> recording = command;
  recording.insert(recording.end(), {"--record-routing", trace});
  const Answer plain = run(recording);
  ASSERT_EQ(plain.code, 0) << plain.err;
  command.insert(command.end(), {"--learn-routing", trace});
  const Answer learned = run(command);
  ASSERT_EQ(learned.code, 0) << learned.err;
  const Json before = Json::parse(plain.out), after = Json::parse(learned.out);
  EXPECT_EQ(after["logits_hash"], before["logits_hash"]);
  EXPECT_GT(after["experts"]["hits"], before["experts"]["hits"]);
  const Answer simulated = run({"simulate", "--trace", trace, "--learn-routing", trace, "--compute",
                                "1us", "--bandwidth", "1GB/s", "--json", "-"});
  EXPECT_EQ(simulated.code, 0) << simulated.err;
  EXPECT_EQ(run({"simulate", "--trace", trace, "--learn-routing", kTrace}).code, 65);
  EXPECT_EQ(run({"simulate", "--trace", trace, "--learn-routing", kTrace, "--model", kFixture,
                 "--bandwidth", "1GB/s", "--compute", "1us"})
                .code,
            0)
      << "mapped as the trace is";
}

TEST(RoutingTraces, ARunThatIsRefusedLeavesNone) {
  const TempFolder folder;
  for (const char* command : {"run", "eval"}) {
    const std::string trace = folder / command;
    EXPECT_EQ(
        run({command, kFixture, "--ids", "1,2,3", "--memory", "1KiB", "--record-routing", trace})
            .code,
        71);
    EXPECT_FALSE(std::filesystem::exists(trace));
  }
}

TEST(Policies, TheOracleIsOfferedWhereTheFutureIsKnown) {
  EXPECT_THAT(run({"simulate", "--help"}).out, HasSubstr("oracle"));
  for (const char* command : {"run", "eval", "bench", "plan"}) {
    EXPECT_THAT(run({command, "--help"}).out, Not(HasSubstr("oracle"))) << command;
  }
}

}  // namespace
}  // namespace switchyard
