// The law under mpirun: processes as ranks print the hash of a single process, for a set of runs
// in which every two values of any two options meet.
//
// What changes nothing, and is run all the same: layout, placement and owners of one rank; owners
// of a single sequence in layouts A, C and auto, whose rank is the only choice they leave; "auto"
// where it comes to what A, B or C does; replicas where no expert is hot; a share of memory for
// ranks so many that their experts fit in it.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "runtime/base/prng.h"
#include "tests/comm/run_line.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

constexpr size_t kRuns = 44;
constexpr size_t kShards = 11;

struct Factor {
  const char* option;
  std::vector<std::string> values;
};

const std::vector<Factor> kFactors = {
    {"-n", {"1", "2", "3", "4", "5", "8"}},
    {"--layout", {"A", "B", "C", "auto"}},
    {"--placement", {"plain", "grouped", "replicated", "random:3"}},
    {"--owners", {"none", "predicted", "random", "adversarial"}},
    {"--expert-memory", {"25%", "100%"}},
    {"--order", {"", "grouped"}},
};

using Choice = std::vector<size_t>;                       // a value of each factor
using Pair = std::tuple<size_t, size_t, size_t, size_t>;  // two factors and their values

std::set<Pair> pairs_of(const Choice& choice) {
  std::set<Pair> pairs;
  for (size_t a = 0; a < choice.size(); ++a) {
    for (size_t b = a + 1; b < choice.size(); ++b) pairs.insert({a, b, choice[a], choice[b]});
  }
  return pairs;
}

size_t all_pairs() {
  size_t count = 0;
  for (size_t a = 0; a < kFactors.size(); ++a) {
    for (size_t b = a + 1; b < kFactors.size(); ++b) {
      count += kFactors[a].values.size() * kFactors[b].values.size();
    }
  }
  return count;
}

// Greedy: of some drawn runs the one with most pairs that are new.
std::vector<Choice> covering_runs() {
  Prng prng(1);
  std::set<Pair> covered;
  std::set<Choice> chosen;
  std::vector<Choice> runs;
  while (runs.size() < kRuns) {
    Choice best;
    size_t best_new = 0;
    for (int draw = 0; draw < 200; ++draw) {
      Choice choice;
      for (const Factor& factor : kFactors) choice.push_back(prng.below(factor.values.size()));
      if (chosen.contains(choice)) continue;
      size_t is_new = 1;
      for (const Pair& pair : pairs_of(choice)) is_new += covered.contains(pair) ? 0 : 1;
      if (is_new > best_new) std::tie(best, best_new) = std::pair(choice, is_new);
    }
    covered.merge(pairs_of(best));
    chosen.insert(best);
    runs.push_back(best);
  }
  EXPECT_EQ(covered.size(), all_pairs());
  return runs;
}

TEST(MpirunRuns, HaveEveryPairOfValues) { EXPECT_EQ(covering_runs().size(), kRuns); }

std::string hash_said(const Ended& ended) {
  constexpr std::string_view kWord = "logits_hash ";
  const size_t at = ended.out.find(kWord);
  return at == std::string::npos ? ended.out : ended.out.substr(at + kWord.size(), 16);
}

// What runs are compared with, and the files they need.
class MpirunLaw : public testing::TestWithParam<size_t> {
 protected:
  void SetUp() override {
    if (const auto why = why_no_mpi()) GTEST_SKIP() << *why;
    trace_ = folder_.path() + "/trace";
    order_ = folder_.path() + "/order";
    const Ended plain = run_line(program() + " --record-routing " + trace_);
    ASSERT_EQ(plain.exit_code, 0) << plain.out;
    const Ended group = run_line(fmt::format("timeout 60 {} group --trace {} --world 4 --out {}",
                                             SWITCHYARD_BINARY, trace_, order_));
    ASSERT_EQ(group.exit_code, 0) << group.out;
    hashes_ = {hash_said(plain), hash_said(run_line(program() + " --order " + order_))};
    ASSERT_EQ(hashes_[0].size(), 16U) << hashes_[0];
    ASSERT_NE(hashes_[0], hashes_[1]);
  }

  static std::string program() {
    return fmt::format(
        "timeout -s KILL 60 {} run {}/models/demo --ids 5,6,7,9,11 -n 4 "
        "--ignore-eos -t 1 --logits-hash",
        SWITCHYARD_BINARY, SWITCHYARD_SOURCE_DIR);
  }

  std::string line_of(const Choice& choice) const {
    std::string options = " --learn-routing " + trace_;
    for (size_t i = 1; i < kFactors.size(); ++i) {
      const std::string& value = kFactors[i].values[choice[i]];
      if (value == "") continue;
      options +=
          fmt::format(" {} {}", kFactors[i].option, value == "grouped" && i == 5 ? order_ : value);
    }
    return mpirun_command(
        fmt::format("-quiet -n {} {}{}", kFactors[0].values[choice[0]], program(), options));
  }

  const TempFolder folder_;
  std::string trace_, order_;
  std::array<std::string, 2> hashes_;  // of each order
};

TEST_P(MpirunLaw, OneHashForEachOrder) {
  const std::vector<Choice> runs = covering_runs();
  for (size_t i = GetParam(); i < runs.size(); i += kShards) {
    const std::string line = line_of(runs[i]);
    const Ended ended = run_line(line);
    EXPECT_EQ(ended.exit_code, 0) << line << '\n' << ended.out;
    EXPECT_EQ(hash_said(ended), hashes_[runs[i].back()]) << line << '\n' << ended.out;
  }
}

TEST(MpirunDoctor, ShowsWhoRunsWhere) {
  if (const auto why = why_no_mpi()) GTEST_SKIP() << *why;
  const TempFolder folder;
  ::setenv("SWITCHYARD_CACHE", folder.path().c_str(), 1);
  const Ended ended = run_line(mpirun_command(fmt::format(
      "-quiet -n 3 {0} doctor {1} -t 1 --json {1}/report", SWITCHYARD_BINARY, folder.path())));
  EXPECT_EQ(ended.exit_code, 0) << ended.out;
  EXPECT_THAT(ended.out, testing::ContainsRegex("rank +host +processors +memory\n0 .*\n1 .*\n2 "));
  EXPECT_THAT(ended.out, testing::HasSubstr("a round of messages between all 3 ranks takes "));
  std::ifstream file(folder.path() + "/report");
  const std::string json{std::istreambuf_iterator<char>(file), {}};
  EXPECT_THAT(json, testing::AllOf(testing::HasSubstr("\"places\""),
                                   testing::HasSubstr("\"round_seconds\"")));
}

INSTANTIATE_TEST_SUITE_P(Shard, MpirunLaw, testing::Range(size_t{0}, kShards));

}  // namespace
}  // namespace switchyard
