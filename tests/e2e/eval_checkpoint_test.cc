// An eval that is ended in the middle and goes on: the figures of one that never was.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <utility>

#include "tests/e2e/child.h"
#include "tests/e2e/models.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::UnorderedElementsAre;

const std::string& demo() { return test_model("demo").path; }
const std::string kText = SWITCHYARD_TEST_DATA "/corpus/en-moby-dick-end.txt";

// Seconds of work, in small steps: little memory and a slow drive.
std::vector<std::string> slow_eval(const std::string& checkpoint) {
  return {"eval",     demo(),    "-f",      kText, "--context",    "256",
          "--stride", "128",     "--chunk", "16",  "--memory",     "8MiB",
          "--drive",  "200MB/s", "--json",  "-",   "--checkpoint", checkpoint};
}

// The same rows in another way, quickly.
std::vector<std::string> fast_eval(const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {"eval", demo(),     "-f",     kText,      "--context",
                                        "256",  "--stride", "128",    "--memory", "64MiB",
                                        "-t",   "1",        "--json", "-"};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return arguments;
}

const Json& undisturbed() {
  static const Json report = [] {
    const ChildResult child = run_switchyard(fast_eval({}));
    expect_done(child);
    return Json::parse(child.out);
  }();
  return report;
}

void expect_undisturbed(const Json& report) {
  for (const char* figure : {"perplexity", "mean_negative_log_likelihood", "tokens",
                             "scored_tokens", "windows", "complete", "logits_hash"}) {
    EXPECT_EQ(report[figure], undisturbed()[figure]) << figure;
  }
}

// Ends an eval with `number` once the checkpoint was written `saves` times.
ChildResult end_eval(const std::string& checkpoint, int number, int saves) {
  const auto saved_at = [&] {
    struct stat status {};
    ::stat(checkpoint.c_str(), &status);
    return std::pair(status.st_mtim.tv_sec, status.st_mtim.tv_nsec);
  };
  const auto end = [&](int process) {
    auto last = saved_at();
    for (int i = 0, seen = 0; i < 600 && seen < saves; ++i) {
      ::usleep(20'000);
      if (saved_at() == last) continue;
      last = saved_at();
      ++seen;
    }
    ::kill(process, number);
  };
  return run_switchyard(slow_eval(checkpoint), {.on_first_message = end});
}

std::vector<std::string> files_in(const TempFolder& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    names.push_back(entry.path().filename());
  }
  return names;
}

TEST(EvalCheckpoint, UserSignalEndsWith75AndTheNextGoesOn) {
  const TempFolder folder;
  const std::string checkpoint = folder / "book.eval";
  const ChildResult stopped = end_eval(checkpoint, SIGUSR1, 1);
  EXPECT_EQ(stopped.exit_code, 75) << stopped.err;
  EXPECT_FALSE(stopped.killed);
  EXPECT_FALSE(Json::parse(stopped.out)["complete"].get<bool>());
  const ChildResult rest = run_switchyard(fast_eval({"--checkpoint", checkpoint}));
  expect_done(rest);
  EXPECT_THAT(rest.err, HasSubstr("scored already"));
  const Json report = Json::parse(rest.out);
  EXPECT_GT(report["scored_before"], 0);
  EXPECT_EQ(report["scored_before"], Json::parse(stopped.out)["scored_tokens"]);
  expect_undisturbed(report);
  EXPECT_THAT(files_in(folder), UnorderedElementsAre("book.eval"));
}

TEST(EvalCheckpoint, OutlivesAKill) {
  const TempFolder folder;
  const std::string checkpoint = folder / "book.eval";
  const ChildResult killed = end_eval(checkpoint, SIGKILL, 2);
  EXPECT_TRUE(killed.killed) << killed.err;
  const ChildResult rest = run_switchyard(fast_eval({"--checkpoint", checkpoint, "--ranks", "2"}));
  expect_done(rest);
  const Json report = Json::parse(rest.out);
  EXPECT_GT(report["scored_before"], 0);
  EXPECT_LT(report["scored_before"], report["scored_tokens"]);
  expect_undisturbed(report);
}

TEST(EvalCheckpoint, TerminationSavesToo) {
  const TempFolder folder;
  const std::string checkpoint = folder / "book.eval";
  const ChildResult stopped = end_eval(checkpoint, SIGTERM, 1);
  EXPECT_EQ(stopped.exit_code, 143) << stopped.err;
  EXPECT_FALSE(stopped.killed);
  const size_t scored = Json::parse(stopped.out)["scored_tokens"];
  EXPECT_GT(scored, 0U);
  const ChildResult again = end_eval(checkpoint, SIGINT, 1);
  EXPECT_EQ(again.exit_code, 130) << again.err;
  EXPECT_EQ(Json::parse(again.out)["scored_before"], scored);
  EXPECT_GE(Json::parse(again.out)["scored_tokens"], scored);
}

TEST(EvalCheckpoint, AFinishedOneTellsTheFiguresAgain) {
  const TempFolder folder;
  const auto arguments = fast_eval({"--checkpoint", folder / "book.eval"});
  const ChildResult first = run_switchyard(arguments);
  expect_done(first);
  expect_undisturbed(Json::parse(first.out));
  const ChildResult second = run_switchyard(arguments);
  expect_done(second);
  expect_undisturbed(Json::parse(second.out));
  EXPECT_EQ(Json::parse(second.out)["scored_before"], undisturbed()["scored_tokens"]);
}

TEST(EvalCheckpoint, OfSomethingElseIsRefusedByName) {
  const TempFolder folder;
  const std::string checkpoint = folder / "b.eval";
  const auto eval = [&](const std::string& model, const std::string& ids,
                        const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"eval", model, "--ids", ids, "--checkpoint", checkpoint};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_switchyard(arguments);
  };
  const std::string& model = test_model("olmoe").path;
  const std::vector<std::string> windows = {"--context", "4", "--stride", "2"};
  expect_done(eval(model, "1,2,3,4,5,6,7", windows));
  const std::string whole = read_text(checkpoint);
  expect_refused(eval(test_model("mixtral").path, "1,2,3,4,5,6,7", windows), 2,
                 {"b.eval", "another model", "--checkpoint"});
  expect_refused(eval(model, "1,2,3,4,5,7,7", windows), 2, {"b.eval", "another text"});
  expect_refused(eval(model, "1,2,3,4,5,6", windows), 2, {"another text"});
  expect_refused(eval(model, "1,2,3,4,5,6,7"), 2, {"context 4, stride 2, not 6, 6"});
  expect_refused(eval(model, "1,2,3", {"--dump-logits", folder / "l"}), 2, {"--dump-logits"});
  EXPECT_EQ(read_text(checkpoint), whole);
  write_text(checkpoint, whole.substr(0, whole.size() / 2));
  expect_refused(eval(model, "1,2,3,4,5,6,7", windows), 65, {"b.eval", "damaged", "remove it"});
  // A text that grew is the same one so far.
  write_text(checkpoint, whole);
  const ChildResult longer = eval(model, "1,2,3,4,5,6,7,8,9", windows);
  expect_done(longer);
  std::filesystem::remove(checkpoint);
  EXPECT_EQ(longer.out, eval(model, "1,2,3,4,5,6,7,8,9", windows).out);
}

TEST(CliRun, UserSignalKeepsWhatWasMadeAndEndsWith75) {
  const ChildResult child =
      run_switchyard({"run", demo(), "-p", "The", "-n", "2000", "--temp", "0", "--memory", "18MiB",
                      "--ignore-eos"},
                     {.on_first_output = [](int process) { ::kill(process, SIGUSR1); }});
  EXPECT_EQ(child.exit_code, 75) << child.err;
  EXPECT_FALSE(child.killed);
  EXPECT_FALSE(child.out.empty());
  EXPECT_THAT(child.err, HasSubstr("tok/s"));
}

}  // namespace
}  // namespace switchyard
