// What pages experts ahead, through the program: faults, traces, spans and the simulator.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/e2e/child.h"
#include "tests/e2e/models.h"

namespace switchyard {
namespace {

using nlohmann::json;
using testing::HasSubstr;

class Paging : public testing::Test {
 protected:
  Paging() : folder_(testing::TempDir() + "paging_XXXXXX") {
    if (::mkdtemp(folder_.data()) == nullptr) std::abort();
    pack_ = folder_ + "/demo.pack";
    EXPECT_EQ(run_switchyard({"pack", test_model("demo").path, pack_}).exit_code, 0);
  }
  ~Paging() override { std::filesystem::remove_all(folder_); }

  ChildResult run(std::vector<std::string> more) const {
    std::vector<std::string> arguments = {"run",      pack_,   "-p",     "Call me", "-n",
                                          "80",       "-t",    "2",      "--temp",  "0",
                                          "--memory", "10MiB", "--json", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_switchyard(arguments);
  }
  static json parsed(const ChildResult& child) {
    EXPECT_EQ(child.exit_code, 0) << child.err;
    return json::parse(child.out);
  }

  std::string folder_, pack_;
};

TEST_F(Paging, ReportsWhatReadingAheadGave) {
  const json figures = parsed(run({}));
  EXPECT_GT(figures["prefetch"]["useful_bytes"], 0);
  EXPECT_GT(figures["experts"]["oracle_hit_rate"], 0.2);
  EXPECT_EQ(figures["prefetch"]["recall"]["same_layer"]["all"], json({1.0, 1.0, 1.0}));
  EXPECT_GT(figures["prefetch"]["recall"]["one_ahead"]["all"][0], 0.3);
  EXPECT_EQ(figures["experts"]["misses_by_layer"].size(), 6u);
  const json blind = parsed(run({"--predictor", "none"}));
  EXPECT_EQ(blind["logits_hash"], figures["logits_hash"]);
  EXPECT_EQ(blind["prefetch"]["started"], 0);
}

TEST_F(Paging, FaultsCostRetriesAndThenARunByName) {
  const json clean = parsed(run({}));
  const json faulty = parsed(run({"--faults", "1,eio=0.05,short-read=0.05,bit-flip=0.05"}));
  EXPECT_EQ(faulty["logits_hash"], clean["logits_hash"]);
  EXPECT_GT(faulty["prefetch"]["read_retries"], 0);
  const ChildResult failing = run({"--faults", "1,eio=1"});
  EXPECT_EQ(failing.exit_code, 74);
  EXPECT_THAT(failing.err, testing::ContainsRegex("layer [0-9]+, expert [0-9]+: "));
  const ChildResult flipped = run({"--faults", "1,bit-flip=1"});
  EXPECT_EQ(flipped.exit_code, 65);
  EXPECT_THAT(flipped.err, HasSubstr("checksum"));
  EXPECT_EQ(run({"--faults", "1,fire"}).exit_code, 2);
}

TEST_F(Paging, ARecordedRunIsReplayed) {
  const std::string trace = folder_ + "/run.route";
  const json recorded = parsed(run({"--record-routing", trace}));
  const json simulated = parsed(run_switchyard(
      {"simulate", "--trace", trace, "--capacity", "37", "--predictor", "next-layer", "--bandwidth",
       "2GB/s", "--latency", "10us", "--compute", "200us", "--json", "-"}));
  EXPECT_EQ(simulated["tokens"], 79);
  EXPECT_GT(simulated["prefetched"], 0);
  EXPECT_GT(simulated["oracle_hit_rate"], simulated["hit_rate"]);
  EXPECT_EQ(run_switchyard({"trace", trace}).exit_code, 0);
  EXPECT_EQ(run_switchyard({"simulate", "--trace", pack_}).exit_code, 65);
}

TEST_F(Paging, EvaluationsAreRecordedToo) {
  const std::string trace = folder_ + "/eval.route";
  const ChildResult child = run_switchyard(
      {"eval", pack_, "-p", "Call me Ishmael.", "--json", "-", "--record-routing", trace});
  const json figures = parsed(child);
  const json recorded = parsed(run_switchyard({"trace", trace, "--json", "-"}));
  EXPECT_EQ(recorded["tokens"]["prefill"].get<int>(), figures["scored_tokens"].get<int>());
}

TEST_F(Paging, SpansShowReadsBesideComputing) {
  const std::string spans = folder_ + "/spans.json";
  parsed(run({"--spans", spans}));
  std::ifstream file(spans);
  const json events = json::parse(file)["traceEvents"];
  const auto count = [&](const std::string& name) {
    return std::ranges::count_if(events, [&](const json& event) {
      return event["name"].get<std::string>().starts_with(name);
    });
  };
  EXPECT_GT(count("read "), 10);
  EXPECT_GT(count("experts "), 400);
  EXPECT_GT(count("attention "), 400);
}

// Every rank sees the routes of all rows there, so rank 0 records what one process does.
TEST_F(Paging, RanksThatSplitHeadsRecordTheTraceOfOneProcess) {
  const auto trace_of = [&](const std::string& name, const std::vector<std::string>& team) {
    std::vector<std::string> arguments = {"run",
                                          pack_,
                                          "-p",
                                          "Call me",
                                          "-n",
                                          "40",
                                          "--temp",
                                          "0",
                                          "--memory",
                                          "20MiB",
                                          "--json",
                                          "-",
                                          "--record-routing",
                                          folder_ + "/" + name};
    arguments.insert(arguments.end(), team.begin(), team.end());
    parsed(run_switchyard(arguments));
    std::ifstream file(folder_ + "/" + name, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string alone = trace_of("alone", {});
  EXPECT_GT(alone.size(), 1000u);
  EXPECT_TRUE(alone == trace_of("split", {"--ranks", "2", "--layout", "B"}));
}

}  // namespace
}  // namespace switchyard
