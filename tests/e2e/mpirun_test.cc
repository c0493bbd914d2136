// The program as the ranks of an MPI job on this machine: rank 0 alone reads and speaks.

#include "tests/comm/mpirun.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tests/e2e/child.h"
#include "tests/e2e/models.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;

const std::string& demo() { return test_model("demo").path; }
const std::string kGreedy = "-n 8 --temp 0 --memory 64MiB";

std::string plain_hash() {
  const ChildResult child = run_switchyard({"run", demo(), "-p", "Call me", "-n", "8", "--temp",
                                            "0", "--memory", "64MiB", "--json", "-"});
  expect_done(child);
  return Json::parse(child.out)["logits_hash"];
}

class MpirunTest : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = why_no_mpi()) GTEST_SKIP() << *why;
  }
};

TEST_F(MpirunTest, Rank0AloneReadsStandardInputAndWritesJson) {
  const TempFolder folder;
  write_text(folder / "prompt", "Call me");
  const std::string out = folder / "out";
  const std::string line = mpirun_line(3, fmt::format("run {} -f - {} --json -", demo(), kGreedy));
  const Ended ended = run_line(fmt::format("{{ {} < {} > {}; }}", line, folder / "prompt", out));
  EXPECT_EQ(ended.exit_code, 0) << ended.out;
  EXPECT_EQ(Json::parse(read_text(out))["logits_hash"], plain_hash());
}

TEST_F(MpirunTest, AnErrorIsOneLine) {
  const Ended ended = mpirun(3, "run /nowhere/model -p x");
  EXPECT_EQ(ended.exit_code, 66) << ended.out;
  const size_t first = ended.out.find("switchyard: ");
  ASSERT_NE(first, std::string::npos) << ended.out;
  EXPECT_THAT(ended.out.substr(first), HasSubstr("/nowhere/model"));
  EXPECT_EQ(ended.out.find("switchyard: ", first + 1), std::string::npos) << ended.out;
  EXPECT_LT(ended.seconds, 20);
}

TEST_F(MpirunTest, UserSignalSavesAnEvalThatAnotherNumberOfRanksEnds) {
  const TempFolder folder;
  const auto eval = [&](const std::string& more) {
    return fmt::format("eval {} -f {}/corpus/en-moby-dick-end.txt --context 256 {}", demo(),
                       SWITCHYARD_TEST_DATA, more);
  };
  const std::string kept = "--checkpoint " + (folder / "book.eval") + " --json ";
  const std::string slow = "--memory 8MiB --chunk 8 --drive 20MB/s ";
  // Once it was saved again, as another file: the first child of what the line starts is mpirun,
  // which passes the signal on to the ranks.
  const std::string file = folder / "book.eval";
  const Ended stopped = run_line(
      fmt::format("{{ {} & until [ -s {} ]; do sleep 0.1; done; first=$(stat -c %i {});"
                  " while [ $(stat -c %i {}) = $first ]; do sleep 0.1; done;"
                  " kill -USR1 $(cat /proc/$!/task/$!/children); wait $!; }}",
                  mpirun_line(3, eval(slow + kept + (folder / "a.json"))), file, file, file));
  EXPECT_EQ(stopped.exit_code, 75) << stopped.out;
  EXPECT_EQ(mpirun(2, eval("--memory 64MiB " + kept + (folder / "b.json"))).exit_code, 0);
  const ChildResult child =
      run_switchyard({"eval", demo(), "-f", SWITCHYARD_TEST_DATA "/corpus/en-moby-dick-end.txt",
                      "--context", "256", "--json", folder / "c.json"});
  expect_done(child);
  const Json continued = Json::parse(read_text(folder / "b.json"));
  const Json whole = Json::parse(read_text(folder / "c.json"));
  EXPECT_GT(continued["scored_before"], 0);
  EXPECT_EQ(continued["logits_hash"], whole["logits_hash"]);
  EXPECT_EQ(continued["perplexity"], whole["perplexity"]);
}

}  // namespace
}  // namespace switchyard
