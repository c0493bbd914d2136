// `switchyard run` as users meet it.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <regex>

#include "runtime/base/file.h"
#include "runtime/base/units.h"
#include "tests/e2e/child.h"
#include "tests/e2e/models.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kRssSlackBytes = 32 * kMiB;
// Sanitizers keep memory of their own.
constexpr bool kSanitized = std::string_view(SWITCHYARD_SANITIZE).size() > 0;

const std::string& demo() { return test_model("demo").path; }
std::string fixture(const std::string& name) { return test_model(name).path; }

// --ids of a model's reference prompt.
std::string prompt_ids(const std::string& model) {
  std::string list;
  for (const TokenId id : read_expected(test_model(model)).input_ids) {
    list += (list.empty() ? "" : ",") + std::to_string(id);
  }
  return list;
}

// Runs with --json FILE and gives the file's content.
Json run_json(std::vector<std::string> arguments, ChildResult* child_out = nullptr,
              const ChildOptions& options = {}) {
  const TempFolder folder;
  const std::string path = folder / "run.json";
  arguments.insert(arguments.begin(), "run");
  arguments.insert(arguments.end(), {"--json", path});
  const ChildResult child = run_switchyard(arguments, options);
  if (child_out != nullptr) *child_out = child;
  if (child_out == nullptr) expect_done(child);
  return Json::parse(read_text(path));
}

void expect_within_budget(const Json& report, const ChildResult& child, uint64_t budget) {
  EXPECT_EQ(report["memory"]["budget_bytes"], budget);
  if (kSanitized) return;
  EXPECT_LE(report["memory"]["peak_rss_bytes"].get<uint64_t>(), budget + kRssSlackBytes);
  EXPECT_LE(child.peak_rss_bytes, budget + kRssSlackBytes);
}

TEST(CliRun, WritesTheDemosTextInAThirdOfItsSize) {
  const TempFolder folder;
  const std::vector<std::string> arguments = {
      "run",    demo(), "-p",       "The captain looked at the sea and",
      "-n",     "64",   "--temp",   "0",
      "--seed", "1",    "--memory", "8MiB",
      "-t",     "2",    "--json",   folder / "run.json"};
  const ChildResult child = run_switchyard(arguments);
  expect_done(child);
  const Json report = Json::parse(read_text(folder / "run.json"));
  EXPECT_EQ(report["generated_tokens"], 64);
  EXPECT_EQ(report["text"], child.out);
  EXPECT_LT(report["experts"]["hit_rate"], 1.0);
  EXPECT_GT(report["io"]["bytes_read"], 0);
  expect_within_budget(report, child, 8 * kMiB);
  for (const char* figure : {"tok/s", "first token", "hits", "read", "weights"}) {
    EXPECT_THAT(child.err, HasSubstr(figure));
  }
  EXPECT_EQ(run_switchyard(arguments).out, child.out);
}

TEST(CliRun, TheDemoRunsIn7MiB) {
  ChildResult child;
  const Json report = run_json(
      {demo(), "-p", "The sea", "-n", "128", "--temp", "0", "--memory", "7MiB", "--ignore-eos"},
      &child);
  expect_done(child);
  EXPECT_EQ(report["generated_tokens"], 128);
  expect_within_budget(report, child, 7 * kMiB);
}

TEST(CliRun, EveryFixtureRunsIn4MiBAsTheReferenceDoes) {
  for (const TestModel& model : test_models()) {
    if (model.demo) continue;
    SCOPED_TRACE(model.name);
    ChildResult child;
    const Json report = run_json({model.path, "--ids", prompt_ids(model.name), "-n", "24", "--temp",
                                  "0", "--memory", "4MiB", "--ignore-eos"},
                                 &child);
    expect_done(child);
    EXPECT_EQ(report["ids"].get<std::vector<TokenId>>(), read_expected(model).greedy);
    expect_within_budget(report, child, 4 * kMiB);
  }
}

TEST(CliRun, ReportsTheFiguresOfTheContract) {
  const Json report =
      run_json({demo(), "-p", "Call me", "-n", "5", "--memory", "16MiB", "-t", "1"});
  EXPECT_TRUE(report["text"].is_string());
  EXPECT_TRUE(report["ids"].is_array());
  for (const char* key : {"prompt_tokens", "generated_tokens", "ranks", "threads"}) {
    EXPECT_TRUE(report[key].is_number_unsigned()) << key;
  }
  EXPECT_TRUE(
      std::regex_match(report["logits_hash"].get<std::string>(), std::regex("[0-9a-f]{16}")));
  for (const char* pointer :
       {"/seconds/load", "/seconds/prefill", "/seconds/decode", "/tokens_per_second/prefill",
        "/tokens_per_second/decode", "/time_to_first_token_seconds", "/memory/budget_bytes",
        "/memory/peak_rss_bytes", "/experts/hits", "/experts/misses", "/experts/hit_rate",
        "/io/bytes_read", "/io/gb_per_s"}) {
    const Json::json_pointer place(pointer);
    ASSERT_TRUE(report.contains(place)) << pointer;
    EXPECT_TRUE(report[place].is_number()) << pointer;
  }
  EXPECT_TRUE(report["layout"].is_string());
  EXPECT_TRUE(report["isa"].is_string());
  const double decode = report["seconds"]["decode"];
  EXPECT_NEAR(report["tokens_per_second"]["decode"].get<double>(), 4 / decode, 1e-6 * 4 / decode);
}

TEST(CliRun, JsonToStandardOutputIsAlone) {
  const ChildResult child = run_switchyard(
      {"run", demo(), "-p", "Call me", "-n", "5", "--memory", "16MiB", "--json", "-"});
  expect_done(child);
  EXPECT_EQ(Json::parse(child.out)["generated_tokens"], 5);
}

TEST(CliRun, GivesTheSameLogitsHoweverItIsAsked) {
  const auto hash = [](std::vector<std::string> more) {
    std::vector<std::string> arguments = {demo(),   "-p", "Call me Ishmael.", "-n", "8",
                                          "--temp", "0"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return run_json(arguments)["logits_hash"];
  };
  const Json expected = hash({"--memory", "64MiB"});
  EXPECT_EQ(hash({"--memory", "8MiB", "-t", "1"}), expected);
  EXPECT_EQ(hash({"--memory", "64MiB", "--chunk", "1"}), expected);
  EXPECT_EQ(hash({"--memory", "64MiB", "--expert-memory", "25%"}), expected);
  EXPECT_EQ(hash({"--memory", "64MiB", "--isa", "scalar"}), expected);
}

TEST(CliRun, PrintsTheLogitsHash) {
  ChildResult child;
  const Json report =
      run_json({demo(), "-p", "Call me", "-n", "3", "--memory", "16MiB", "--logits-hash"}, &child);
  EXPECT_THAT(child.err, HasSubstr(report["logits_hash"].get<std::string>()));
}

TEST(CliRun, TakesThePromptFromAFileAndStandardInput) {
  const TempFolder folder;
  const std::string text = "Il lago di Como";
  write_text(folder / "prompt.txt", text);
  const std::vector<std::string> rest = {"-n", "8", "--temp", "0", "--memory", "16MiB"};
  const auto out_of = [&](std::vector<std::string> given, const std::string& input) {
    std::vector<std::string> arguments = {"run", demo()};
    arguments.insert(arguments.end(), given.begin(), given.end());
    arguments.insert(arguments.end(), rest.begin(), rest.end());
    const ChildResult child = run_switchyard(arguments, {.input = input});
    expect_done(child);
    return child.out;
  };
  const std::string expected = out_of({"-p", text}, "");
  EXPECT_FALSE(expected.empty());
  EXPECT_EQ(out_of({"-f", folder / "prompt.txt"}, ""), expected);
  EXPECT_EQ(out_of({"-f", "-"}, text), expected);
  EXPECT_EQ(out_of({"-p", "-"}, text), expected);
}

TEST(CliRun, StopTextEndsTheGenerationAndIsNotShown) {
  const std::vector<std::string> arguments = {
      demo(), "-p", "The captain looked at", "-n", "40", "--temp", "0", "--memory", "16MiB"};
  const std::string whole = run_json(arguments)["text"];
  const std::string stop = whole.substr(whole.size() / 2, 4);
  std::vector<std::string> with_stop = arguments;
  with_stop.insert(with_stop.end(), {"--stop", stop});
  const Json report = run_json(with_stop);
  EXPECT_EQ(report["text"], whole.substr(0, whole.find(stop)));
  EXPECT_LT(report["generated_tokens"], 40);
}

TEST(CliRun, EverySeedIsItsOwnText) {
  const auto text = [](const std::string& seed) {
    return run_json({demo(), "-p", "El", "-n", "24", "--temp", "1", "--top-k", "0", "--seed", seed,
                     "--memory", "16MiB"})["text"];
  };
  EXPECT_EQ(text("1"), text("1"));
  EXPECT_NE(text("1"), text("2"));
}

TEST(CliRun, StreamsWholeCharacters) {
  for (const char* seed : {"1", "2", "3"}) {
    const ChildResult child = run_switchyard(
        {"run", demo(), "-p", "¿Qué más quería el señor, mañana", "-n", "200", "--temp", "2",
         "--top-k", "0", "--seed", seed, "--memory", "32MiB", "--ignore-eos"});
    expect_done(child);
    EXPECT_TRUE(is_utf8(child.out)) << child.out;
  }
}

TEST(CliRun, ABudgetBelowTheMinimumNamesOneThatWorks) {
  const std::vector<std::string> arguments = {"run", fixture("olmoe"), "--ids", "1,2,3", "-n", "4"};
  const auto with_memory = [&](const std::string& memory) {
    std::vector<std::string> all = arguments;
    all.insert(all.end(), {"--memory", memory});
    return run_switchyard(all);
  };
  const ChildResult child = with_memory("512KiB");
  expect_refused(child, 71, {"512KiB"});
  const std::string line = child.error_lines().at(0);
  std::vector<std::string> sizes;
  const std::regex size("[0-9.]+ ?(KiB|MiB|GiB)");
  for (std::sregex_iterator at(line.begin(), line.end(), size), end; at != end; ++at) {
    sizes.push_back(at->str());
  }
  EXPECT_EQ(sizes.size(), 2U) << line;
  expect_done(with_memory(sizes.back()));
}

TEST(CliRun, CtrlCEndsWithWhatWasMade) {
  ChildResult child;
  const Json report = run_json(
      {demo(), "-p", "The", "-n", "2000", "--temp", "0", "--memory", "18MiB", "--ignore-eos"},
      &child, {.on_first_output = [](int process) { ::kill(process, SIGINT); }});
  EXPECT_EQ(child.exit_code, 130) << child.err;
  EXPECT_FALSE(child.killed);
  EXPECT_GE(report["generated_tokens"], 1);
  EXPECT_LT(report["generated_tokens"], 2000);
  EXPECT_EQ(report["ids"].size(), report["generated_tokens"]);
}

TEST(CliRun, WithoutATokenThereIsNoFirstOne) {
  ChildResult child;
  const Json report = run_json({demo(), "-p", "The sea", "-n", "0", "--memory", "18MiB"}, &child);
  expect_done(child);
  EXPECT_TRUE(report["time_to_first_token_seconds"].is_null());
  EXPECT_EQ(child.err.find("first token"), std::string::npos) << child.err;
  EXPECT_GT(report["tokens_per_second"]["prefill"], 0);
}

TEST(CliRun, ReadsNoMoreOfAPromptThanCouldFit) {
  const TempFolder folder;
  std::string text;
  while (text.size() < (8 << 20)) text += " the sea and the whale\n";
  write_text(folder / "long.txt", text);
  const ChildResult child = run_switchyard({"run", demo(), "-f", folder / "long.txt", "-n", "1"});
  expect_refused(child, 2, {"context", "2048"});
  const ChildResult zeros = run_switchyard({"run", demo(), "-f", "/dev/zero", "-n", "1"});
  expect_refused(zeros, 65, {"/dev/zero"});
  if (kSanitized) return;
  EXPECT_LT(child.peak_rss_bytes, kRssSlackBytes);
  EXPECT_LT(zeros.peak_rss_bytes, kRssSlackBytes);
}

TEST(CliRun, NamesSamplingKeysItDoesNotFollowAndEscapesThem) {
  const TempFolder folder;
  std::filesystem::copy(fixture("olmoe"), folder.path(), std::filesystem::copy_options::recursive);
  write_text(folder / "generation_config.json", R"({"typical_p": 0.5, "num_beams": 3})");
  Json config = Json::parse(read_text(folder / "config.json"));
  config["odd\nswitchyard: key\u001b"] = 1;
  write_text(folder / "config.json", config.dump());
  const ChildResult child =
      run_switchyard({"run", folder.path(), "--ids", "1,2", "-n", "1", "--memory", "64MiB"});
  expect_done(child);
  EXPECT_THAT(child.err, HasSubstr("not followed: typical_p, num_beams\n"));
  EXPECT_THAT(child.err, HasSubstr("odd\\x0aswitchyard: key\\x1b"));
}

// A Hugging Face cache: refs name a commit, snapshots hold its files.
class HubCache : public testing::Test {
 protected:
  HubCache() {
    namespace fs = std::filesystem;
    const fs::path repo = fs::path(home_.path()) / "hub/models--some-org--tiny";
    fs::create_directories(repo / "refs");
    fs::create_directories(repo / "snapshots");
    write_text((repo / "refs/main").string(), commit_);
    fs::create_directory_symlink(fixture("mixtral"), repo / "snapshots" / commit_);
  }

  ChildResult run(const std::string& model) {
    return run_switchyard({"run", model, "--ids", "1,2,3", "-n", "2", "--memory", "8MiB"},
                          {.environment = {{"HF_HOME", home_.path()}}});
  }

  TempFolder home_;
  const std::string commit_ = "0123456789abcdef0123456789abcdef01234567";
};

TEST_F(HubCache, FindsAModelByName) {
  expect_done(run("some-org/tiny"));
  expect_done(run("some-org/tiny@main"));
  expect_done(run("some-org/tiny@" + commit_));
}

TEST_F(HubCache, SaysWhereItLookedForAMissingOne) {
  expect_refused(run("some-org/other"), 66, {"some-org/other", home_.path()});
  expect_refused(run("some-org/tiny@v2"), 66, {"v2"});
}

}  // namespace
}  // namespace switchyard
