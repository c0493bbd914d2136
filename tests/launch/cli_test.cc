#include "launch/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "tests/launch/fake_tree.h"
#include "tests/launch/program.h"

namespace switchyard {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::StartsWith;

// An error is one line on standard error, and nothing else is written.
void expect_error(const std::vector<std::string>& arguments, int code, const std::string& says) {
  const Answer outcome = run(arguments);
  EXPECT_EQ(outcome.code, code) << outcome.err;
  EXPECT_THAT(outcome.err, AllOf(StartsWith("switchyard: "), HasSubstr(says)));
  EXPECT_EQ(std::count(outcome.err.begin(), outcome.err.end(), '\n'), 1) << outcome.err;
  EXPECT_EQ(outcome.out, "");
}

// Two letters and their pair: enough of a tokenizer for the commands that need no more.
constexpr const char* kTokenizer = R"({"version": "1.0", "added_tokens": [
  {"id": 3, "content": "<s>", "special": true, "single_word": false, "lstrip": false,
   "rstrip": false, "normalized": false}],
  "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
  "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
   "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
   "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";

class CliTest : public testing::Test {
 protected:
  CliTest() { tree_.file("model/tokenizer.json", kTokenizer); }

  FakeTree tree_;
  std::string model_ = tree_.path("model");
};

TEST_F(CliTest, HelpAndVersionGoToStandardOutput) {
  for (const std::vector<std::string>& arguments :
       {std::vector<std::string>{"--help"}, {"-h"}, {"run", "--help"}, {"pack", "-h"}}) {
    const Answer outcome = run(arguments);
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("Examples:\n  switchyard "));
    EXPECT_EQ(outcome.err, "");
  }
  EXPECT_THAT(run({"--version"}).out, AllOf(HasSubstr("scalar"), HasSubstr("io_uring")));
}

TEST_F(CliTest, EveryCommandHasHelpWithExamplesOfItself) {
  const Answer page = run({"--help"});
  for (const Command& command : all_commands()) {
    EXPECT_THAT(page.out, HasSubstr("\n  " + command.name + " ")) << command.name;
    const Answer outcome = run({command.name, "--help"});
    EXPECT_EQ(outcome.code, 0);
    EXPECT_THAT(outcome.out, HasSubstr("\n  switchyard " + command.name)) << command.name;
  }
}

TEST_F(CliTest, WrongUseIsTwo) {
  expect_error({}, 2, "no command");
  expect_error({"fly"}, 2, "'fly'");
  expect_error({"run"}, 2, "MODEL");
  expect_error({"run", model_, "--no-such-flag"}, 2, "--no-such-flag");
  expect_error({"run", model_, "-p", "x", "-n", "-2"}, 2, "-2");
  expect_error({"run", model_, "-p", "x", "-n", "many"}, 2, "'many'");
  expect_error({"run", model_, "-p", "x", "--temp", "nan"}, 2, "--temp");
  expect_error({"run", model_, "-p", "x", "--memory", "5XB"}, 2, "'5XB'");
  expect_error({"run", model_, "-p", "x", "-t", "0"}, 2, "--threads");
  expect_error({"run", model_, "-p", "x", "--ids", "1"}, 2, "one of");
  expect_error({"run", model_}, 2, "one of");
  expect_error({"run", model_, "-p", "x", "--stop", ""}, 2, "--stop");
  expect_error({"run", model_, "-p"}, 2, "--prompt");
  expect_error({"eval", model_}, 2, "one of");
  expect_error({"tokenize", model_}, 2, "--jsonl");
  expect_error({"tokenize", model_, "-p", "a", "--jsonl"}, 2, "--jsonl");
  expect_error({"detokenize", model_, "--ids", "-1"}, 2, "'-1'");
  expect_error({"detokenize", model_, "--ids", "4"}, 2, "id 4 ");
  expect_error({"pack", model_}, 2, "OUT");
}

TEST_F(CliTest, MissingInputIs66) {
  expect_error({"inspect", tree_.path("nothing")}, 66, "nothing");
  expect_error({"tokenize", tree_.path(), "-p", "a"}, 66, "tokenizer.json");
  expect_error({"tokenize", model_, "-f", tree_.path("no.txt")}, 66, "no.txt");
  expect_error({"run", model_, "-p", "a"}, 66, "config.json");
}

TEST_F(CliTest, BadDataIs65) {
  expect_error({"tokenize", model_, "-p", "\xff"}, 65, "UTF-8");
  tree_.file("list.txt", "1,x");
  expect_error({"detokenize", model_, "-f", tree_.path("list.txt")}, 65, "list.txt");
  tree_.file("model/tokenizer.json", "{");
  expect_error({"tokenize", model_, "-p", "a"}, 65, "tokenizer.json");
}

TEST_F(CliTest, OutputsThatCannotBeMadeAre74) {
  expect_error({"inspect", model_, "--json", tree_.path("no/such/file")}, 74, "no/such");
  expect_error({"run", model_, "-p", "a", "--json", model_}, 74, "folder");
  tree_.file("there.pack", "old");
  expect_error({"pack", model_, tree_.path("there.pack")}, 74, "--force");
}

TEST_F(CliTest, TokenizesAndBack) {
  EXPECT_EQ(run({"tokenize", model_, "-p", "aab"}).out, "[0,2]\n");
  EXPECT_EQ(run({"tokenize", model_, "-f", "-"}, "ba").out, "[1,0]\n");
  EXPECT_EQ(run({"tokenize", model_, "-p", ""}).out, "[]\n");
  EXPECT_EQ(run({"detokenize", model_, "--ids", "0,2"}).out,
            run({"detokenize", model_, "-p", "-"}, "[0,2]\n").out);
}

TEST_F(CliTest, SkipsSpecialTokensWhenAsked) {
  EXPECT_THAT(run({"detokenize", model_, "--ids", "3"}).out, HasSubstr("<s>"));
  EXPECT_EQ(run({"detokenize", model_, "--ids", "3", "--skip-special"}).out, "");
}

TEST_F(CliTest, ConvertsLinesOfJson) {
  const Answer there = run({"tokenize", model_, "--jsonl"}, "\"ab\"\n\"\"\n\"b\\u0061\"");
  EXPECT_EQ(there.code, 0) << there.err;
  EXPECT_EQ(there.out, "[2]\n[]\n[1,0]\n");
  const Answer back = run({"detokenize", model_, "--jsonl"}, "[2]\n[]\n");
  EXPECT_EQ(back.out, "\"ab\"\n\"\"\n");
}

TEST_F(CliTest, NamesTheBadLine) {
  for (const char* bad : {"\"a\"\nx\n", "\"a\"\n7\n", "\"a\"\n\n\"b\"\n", "\"a\"\n\"\\ud800\"\n"}) {
    const Answer outcome = run({"tokenize", model_, "--jsonl"}, bad);
    EXPECT_EQ(outcome.code, 65);
    EXPECT_THAT(outcome.err, HasSubstr("line 2"));
    EXPECT_EQ(outcome.out, "[0]\n");
  }
  const Answer outcome = run({"detokenize", model_, "--jsonl"}, "[0]\n[1.5]\n");
  EXPECT_EQ(outcome.code, 65);
  EXPECT_THAT(outcome.err, AllOf(HasSubstr("line 2"), HasSubstr("entry 0")));
}

TEST_F(CliTest, AnOutputThatFailsIs74) {
  std::istringstream in;
  std::ostringstream out, err;
  out.setstate(std::ios::badbit);
  Console console{in, out, err};
  EXPECT_EQ(run_cli({"tokenize", model_, "-p", "a"}, console), 74);
}

// What ranks of one process share is named, and advised, as their sum.
TEST_F(CliTest, ABudgetOfAllRanksIsTheirSum) {
  const std::string model = SWITCHYARD_TEST_DATA "/fixtures/olmoe";
  const std::vector<std::string> command = {"run", model, "--ids",   "1,2",
                                            "-n",  "1",   "--ranks", "4"};
  auto small = command, enough = command;
  small.insert(small.end(), {"--expert-memory", "1KiB"});
  expect_error(small, 71,
               "--expert-memory 1KiB is too small for 4 ranks of this model and request; "
               "--expert-memory 4MiB does");
  enough.insert(enough.end(), {"--expert-memory", "4MiB"});
  EXPECT_EQ(run(enough).code, 0);
}

TEST_F(CliTest, ADeviceThatHoldsNoExpertIsRefusedByPlanToo) {
  const std::string model = SWITCHYARD_TEST_DATA "/fixtures/olmoe";
  const Answer answer = run({"plan", model, "--drive", "1GB/s", "--device", "sim:1KiB,1GB/s,10us"});
  EXPECT_EQ(answer.code, 71);
  EXPECT_THAT(answer.err, HasSubstr("--device: 1.00 KiB hold no expert of"));
}

TEST_F(CliTest, TwoOutputsOfOneNameAreRefused) {
  expect_error({"run", model_, "-p", "x", "--traffic", "one", "--json", "one"}, 2,
               "one: --traffic and --json name the same file");
}

}  // namespace
}  // namespace switchyard
