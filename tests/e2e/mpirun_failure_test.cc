// The program under mpirun when something breaks on one rank: all are out in seconds, one line
// says which rank and what was waited for, and no process stays.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "tests/comm/hosts.h"
#include "tests/comm/run_line.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;

const std::string kSource = SWITCHYARD_SOURCE_DIR;
const std::string kProgram = SWITCHYARD_BINARY;
const std::string kDemo = kSource + "/models/demo";
constexpr const char* kJobVariable = "SWITCHYARD_TEST_JOB";
constexpr double kOutSeconds = 10;  // all ranks are gone by then, silence included

// Long enough that it is still at work when something happens to it.
std::string generation(const std::string& model = kDemo, int tokens = 900) {
  return fmt::format("{} run {} --ids 5,6,7,9 -n {} --ignore-eos -t 1 --expert-memory 25%",
                     kProgram, model, tokens);
}

// The processes of this test's job, by rank.
std::map<int, pid_t> processes() {
  namespace fs = std::filesystem;
  const std::string job = fmt::format("{}={}", kJobVariable, ::getpid());
  std::map<int, pid_t> found;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator("/proc", error)) {
    std::ifstream file(entry.path() / "environ");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    const std::string environment = std::string(1, '\0') + text;
    constexpr std::string_view kRank = "OMPI_COMM_WORLD_RANK=";
    const size_t rank = environment.find(std::string(1, '\0') + std::string(kRank));
    if (rank == std::string::npos || environment.find(job) == std::string::npos) continue;
    found[std::atoi(environment.c_str() + rank + 1 + kRank.size())] =
        std::atoi(entry.path().filename().c_str());
  }
  return found;
}

bool all_gone_within(double seconds) {
  const double end = now_seconds() + seconds;
  while (!processes().empty()) {
    if (now_seconds() > end) return false;
    sleep_until_seconds(now_seconds() + 0.05);
  }
  return true;
}

class MpirunFailure : public testing::Test {
 protected:
  void SetUp() override {
    if (const auto why = why_no_mpi()) GTEST_SKIP() << *why;
    ::setenv(kJobVariable, std::to_string(::getpid()).c_str(), 1);
  }

  // `what` follows mpirun's options. `act` once the ranks compute, given their processes; time
  // counts from then, or from the beginning.
  Ended run(const std::string& what, const std::function<void(std::map<int, pid_t>)>& act = {}) {
    const std::string line = mpirun_command(fmt::format("-x {} {}", kJobVariable, what));
    double begin = now_seconds();
    Ended ended = run_line(line, [&](const std::string& text) {
      if (!act || text.find("sampling: ") == std::string::npos) return;
      begin = now_seconds();
      act(processes());
    });
    ended.seconds = now_seconds() - begin;
    EXPECT_NE(ended.exit_code, 0) << ended.out;
    EXPECT_LT(ended.seconds, kOutSeconds) << ended.out;
    EXPECT_TRUE(all_gone_within(2)) << ended.out;
    return ended;
  }

  static std::vector<std::string> errors(const Ended& ended) {
    std::vector<std::string> lines;
    std::istringstream stream(ended.out);
    for (std::string line; std::getline(stream, line);) {
      if (line.find("switchyard: ") != std::string::npos) lines.push_back(line);
    }
    return lines;
  }

  // One line of error of all ranks together.
  template <class Matcher>
  static void expect_said(const Ended& ended, const Matcher& matcher) {
    EXPECT_THAT(errors(ended), testing::ElementsAre(matcher)) << ended.out;
  }
};

TEST_F(MpirunFailure, AKilledRankIsNamed) {
  for (const int rank : {2, 0}) {
    const Ended ended = run(fmt::format("-n 3 {}", generation()), [&](auto processes) {
      ASSERT_EQ(processes.size(), 3U);
      EXPECT_EQ(::kill(processes[rank], SIGKILL), 0);
    });
    EXPECT_THAT(ended.out, HasSubstr(fmt::format("rank {}", rank)));
  }
}

TEST_F(MpirunFailure, AHungRankIsNamed) {
  const Ended ended = run(fmt::format("-quiet -n 3 {}", generation()), [](auto processes) {
    ASSERT_EQ(processes.size(), 3U);
    EXPECT_EQ(::kill(processes[2], SIGSTOP), 0);
  });
  EXPECT_EQ(ended.exit_code, 69);
  expect_said(ended, HasSubstr("rank 2: silent for 6 s while this rank waited for "));
}

TEST_F(MpirunFailure, AHungFirstRankIsNamedByTheNext) {
  const Ended ended = run(fmt::format("-quiet -n 3 {}", generation()), [](auto processes) {
    ASSERT_EQ(processes.size(), 3U);
    EXPECT_EQ(::kill(processes[0], SIGSTOP), 0);
  });
  // When mpirun ends the first one, it wakes and may say so, too.
  EXPECT_THAT(errors(ended),
              testing::Contains(testing::ContainsRegex(
                  "^.r1. switchyard: (rank 2: )?rank 0: silent for 6 s while this rank waited")))
      << ended.out;
}

// As a full disk, of which rank 0's file is the only one that is written.
TEST_F(MpirunFailure, AFullDiskIsNamed) {
  const TempFolder folder;
  const std::string rank =
      fmt::format("{} --record-routing {}/trace", generation(kDemo, 100), folder.path());
  const Ended ended =
      run(fmt::format("-quiet -n 1 sh -c 'ulimit -f 16; exec {0}' : -n 2 {0}", rank));
  EXPECT_EQ(ended.exit_code, 74) << ended.out;
  expect_said(ended, HasSubstr(folder.path() + "/trace: cannot write: "));
}

TEST_F(MpirunFailure, ReadsThatFailOnOneRankAreNamed) {
  const Ended ended = run(fmt::format("-quiet -n 2 {0} : -n 1 {0} --faults 1,eio=1", generation()));
  EXPECT_EQ(ended.exit_code, 74) << ended.out;
  expect_said(ended, AllOf(HasSubstr("rank 2: "), HasSubstr("layer"), HasSubstr("expert"),
                           HasSubstr("cannot read")));
}

TEST_F(MpirunFailure, ARankThatWasStartedOtherwiseIsNamed) {
  const std::string fixture = kSource + "/tests/data/fixtures/mixtral";
  struct Case {
    std::string rank;
    int code;
    std::string what;
  };
  const std::vector<Case> cases = {
      {generation(fixture), 65, "every rank needs the model that rank 0 has"},
      {generation() + " --layout B", 78, "rank 2: has another layout than rank 0"},
      {generation() + " --placement random:7", 78, "rank 2: has another placement than rank 0"},
      {generation("no-such-model"), 66, "rank 2: "},
      {generation() + " --no-such-option", 2, "rank 2: "},
      {kProgram + " doctor", 70, "rank 2: "},
  };
  for (const Case& one : cases) {
    const Ended ended = run(fmt::format("-quiet -n 2 {} : -n 1 {}", generation(), one.rank));
    EXPECT_EQ(ended.exit_code, one.code) << ended.out;
    expect_said(ended, HasSubstr(one.what));
  }
}

TEST_F(MpirunFailure, AWrongOptionIsSaidOnce) {
  const Ended ended = run(fmt::format("-quiet -n 3 {} --no-such-option", generation()));
  EXPECT_EQ(ended.exit_code, 2) << ended.out;
  expect_said(ended, HasSubstr("--no-such-option"));
}

// mpirun cannot hear a host whose link is cut: what counts is that the ranks themselves leave.
TEST_F(MpirunFailure, RanksBehindACutLinkLeaveByThemselves) {
  if (const auto why = why_no_hosts()) GTEST_SKIP() << *why;
  const Hosts hosts;
  if (!hosts.up()) GTEST_SKIP() << "network namespaces are not allowed here";
  const std::string line = hosts.line(
      fmt::format("mpirun --mca orte_tmpdir_base {} -quiet --oversubscribe --bind-to none -x {} "
                  "-host sw0,sw1,sw2 -n 3 {}",
                  hosts.folder(), kJobVariable, generation()));
  std::atomic<double> cut = 0;
  Ended ended;
  std::thread job([&] {
    ended = run_line(line, [&](const std::string& text) {
      if (text.find("sampling: ") == std::string::npos) return;
      EXPECT_EQ(hosts.hosts("cut sw2").exit_code, 0);
      cut = now_seconds();
    });
  });
  const double late = now_seconds() + 30;
  while (cut == 0 && now_seconds() < late) sleep_until_seconds(now_seconds() + 0.05);
  EXPECT_GT(cut, 0);
  EXPECT_TRUE(all_gone_within(kOutSeconds));
  hosts.hosts("down");
  job.join();
  EXPECT_NE(ended.exit_code, 0);
  expect_said(ended, HasSubstr("rank 2: silent for 6 s while this rank waited for "));
}

}  // namespace
}  // namespace switchyard
