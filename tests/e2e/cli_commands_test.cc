// The commands beside `run`.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/e2e/child.h"
#include "tests/e2e/damage.h"
#include "tests/e2e/models.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;
using testing::HasSubstr;
using testing::IsEmpty;

const std::string& demo() { return test_model("demo").path; }
std::string fixture(const std::string& name) { return test_model(name).path; }
std::string corpus(const std::string& name) { return SWITCHYARD_TEST_DATA "/corpus/" + name; }

TEST(Cli, HelpNamesEveryCommandWithExamples) {
  const ChildResult child = run_switchyard({"--help"});
  expect_done(child);
  EXPECT_THAT(child.err, IsEmpty());
  for (const char* command :
       {"run", "eval", "tokenize", "detokenize", "inspect", "pack", "bench", "doctor"}) {
    EXPECT_THAT(child.out, HasSubstr(std::string("\n  ") + command + " "));
    EXPECT_THAT(child.out, HasSubstr(std::string("switchyard ") + command));
    const ChildResult page = run_switchyard({command, "--help"});
    expect_done(page);
    EXPECT_THAT(page.out, HasSubstr(std::string("switchyard ") + command));
  }
}

TEST(Cli, VersionNamesTheInstructionSets) {
  const ChildResult child = run_switchyard({"--version"});
  expect_done(child);
  for (const char* needle : {"switchyard 0.", "scalar", "avx2"}) {
    EXPECT_THAT(child.out, HasSubstr(needle));
  }
}

TEST(Cli, AWrongCommandLineIsUsage) {
  expect_refused(run_switchyard({}), 2, {});
  expect_refused(run_switchyard({"walk"}), 2, {"walk"});
  expect_refused(run_switchyard({"run"}), 2, {"MODEL"});
  expect_refused(run_switchyard({"run", demo(), "--frobnicate"}), 2, {"--frobnicate"});
  expect_refused(run_switchyard({"run", demo(), "-p", "x", "-n", "many"}), 2, {"many"});
  expect_refused(run_switchyard({"run", demo(), "-p", "x", "--memory", "lots"}), 2, {"lots"});
  expect_refused(run_switchyard({"run", demo(), "-p", "x", "--ids", "1"}), 2, {"--ids"});
  expect_refused(run_switchyard({"run", demo(), "--ids", "1,5000"}), 2, {"5000"});
  expect_refused(run_switchyard({"run", demo(), "--ids", "1", "--isa", "mmx"}), 2, {"mmx"});
  expect_refused(run_switchyard({"run", demo(), "--ids", "1", "--policy", "mru"}), 2, {"mru"});
}

TEST(Cli, AnOutputThatCannotBeMadeIsAnIoError) {
  const std::vector<std::string> run = {"run", fixture("olmoe"), "--ids", "1", "-n", "1", "--json"};
  std::vector<std::string> arguments = run;
  arguments.push_back("/nowhere/run.json");
  expect_refused(run_switchyard(arguments), 74, {"/nowhere"});
  arguments.back() = "/dev/full";
  expect_refused(run_switchyard(arguments), 74, {"/dev/full"});
}

// The perplexities in models/demo/README.md.
TEST(CliEval, GivesTheDemosPerplexity) {
  const auto perplexity = [](const std::string& book, size_t tokens) {
    const ChildResult child =
        run_switchyard({"eval", demo(), "-f", corpus(book), "--memory", "64MiB", "--json", "-"});
    expect_done(child);
    const Json report = Json::parse(child.out);
    EXPECT_EQ(report["tokens"], tokens);
    return report["perplexity"].get<double>();
  };
  EXPECT_NEAR(perplexity("en-moby-dick-end.txt", 1698), 70.0847, 5e-4);
  EXPECT_NEAR(perplexity("it-promessi-sposi-end.txt", 1766), 40.7791, 5e-4);
}

TEST(CliEval, SlidesWindowsOverLongTexts) {
  const ChildResult child =
      run_switchyard({"eval", demo(), "-f", corpus("en-moby-dick-end.txt"), "--context", "256",
                      "--stride", "128", "--memory", "16MiB"});
  expect_done(child);
  EXPECT_THAT(child.out, HasSubstr("perplexity"));
  EXPECT_THAT(child.out + child.err, HasSubstr("256"));
  EXPECT_THAT(child.out + child.err, HasSubstr("128"));
}

TEST(CliEval, DumpsTheReferencesLogits) {
  const TempFolder folder;
  const Expected expected = read_expected(test_model("qwen2_moe"));
  std::string ids;
  for (const TokenId id : expected.input_ids) ids += (ids.empty() ? "" : ",") + std::to_string(id);
  const std::string path = folder / "logits.safetensors";
  expect_done(run_switchyard(
      {"eval", fixture("qwen2_moe"), "--ids", ids, "--memory", "8MiB", "--dump-logits", path}));
  const SafetensorsParts parts = read_safetensors_parts(path);
  const Json& info = parts.header.at("logits");
  EXPECT_EQ(info.at("dtype"), "F32");
  EXPECT_EQ(info.at("shape"), Json({40, 320}));
  std::vector<float> logits(expected.logits.size());
  ASSERT_EQ(parts.data.size(), logits.size() * sizeof(float));
  std::memcpy(logits.data(), parts.data.data(), parts.data.size());
  for (size_t i = 0; i < logits.size(); ++i) ASSERT_NEAR(logits[i], expected.logits[i], 1e-3);
}

TEST(CliEval, LeavesNoUnfinishedDumpWhenInterruptedTwice) {
  const TempFolder folder;
  const ChildResult child = run_switchyard(
      {"eval", demo(), "-f", corpus("en-moby-dick-end.txt"), "--context", "64", "--stride", "1",
       "--memory", "16MiB", "--dump-logits", folder / "logits.safetensors"},
      {.on_first_message = [](int process) {
        ::usleep(300'000);
        ::kill(process, SIGINT);
        ::kill(process, SIGINT);
      }});
  EXPECT_EQ(child.exit_code, 130) << child.err;
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(CliEval, RefusesAContextOrStrideThatWouldBeCut) {
  expect_refused(run_switchyard({"eval", demo(), "-p", "a sea", "--stride", "5000"}), 2,
                 {"--stride 5000", "2048"});
  expect_refused(run_switchyard({"eval", demo(), "-p", "a sea", "--context", "5000"}), 2,
                 {"--context 5000", "2048"});
  expect_refused(run_switchyard({"inspect", demo(), "--context", "5000"}), 2,
                 {"--context 5000", "2048"});
}

TEST(CliTokenize, GoesToIdsAndBack) {
  const std::string text = "Quel ramo del lago di Como, che volge a mezzogiorno — è così.";
  const ChildResult ids = run_switchyard({"tokenize", demo(), "-p", text});
  expect_done(ids);
  EXPECT_TRUE(Json::parse(ids.out).is_array());
  const ChildResult back = run_switchyard({"detokenize", demo(), "-f", "-"}, {.input = ids.out});
  expect_done(back);
  EXPECT_EQ(back.out, text);
}

TEST(CliTokenize, TakesALineAtATime) {
  const Json lines = {"Call me Ishmael.", "", "naïve\n\"café\"", "日本"};
  std::string input;
  for (const Json& line : lines) input += line.dump() + "\n";
  const ChildResult ids = run_switchyard({"tokenize", demo(), "--jsonl"}, {.input = input});
  expect_done(ids);
  const ChildResult back = run_switchyard({"detokenize", demo(), "--jsonl"}, {.input = ids.out});
  expect_done(back);
  std::istringstream stream(back.out);
  std::vector<std::string> texts;
  for (std::string line; std::getline(stream, line);) texts.push_back(Json::parse(line));
  EXPECT_EQ(Json(texts), lines);
}

TEST(CliTokenize, LeavesSpecialTokensOut) {
  const ChildResult all = run_switchyard({"detokenize", demo(), "--ids", "0,300,1"});
  const ChildResult skipped =
      run_switchyard({"detokenize", demo(), "--ids", "0,300,1", "--skip-special"});
  expect_done(all);
  expect_done(skipped);
  EXPECT_EQ(all.out, "<|endoftext|>" + skipped.out + "<|im_start|>");
}

TEST(CliInspect, TellsWhatAModelIs) {
  const ChildResult child = run_switchyard({"inspect", demo()});
  expect_done(child);
  for (const char* needle : {"qwen3_moe", "256", "32", "4096"}) {
    EXPECT_THAT(child.out, HasSubstr(needle));
  }
  const ChildResult json = run_switchyard({"inspect", fixture("qwen2_moe"), "--json", "-"});
  expect_done(json);
  EXPECT_THAT(Json::parse(json.out).dump(), HasSubstr("qwen2_moe"));
}

TEST(CliPack, APackRunsAsItsFolderDoes) {
  const TempFolder folder;
  const std::string pack = folder / "demo.pack";
  expect_done(run_switchyard({"pack", demo(), pack}));
  expect_done(run_switchyard({"pack", "--verify", pack}));
  const auto run = [](const std::string& model) {
    const ChildResult child = run_switchyard({"run", model, "-p", "Call me", "-n", "16", "--temp",
                                              "0", "--memory", "8MiB", "--json", "-"});
    expect_done(child);
    return Json::parse(child.out);
  };
  const Json from_pack = run(pack), from_folder = run(demo());
  EXPECT_EQ(from_pack["logits_hash"], from_folder["logits_hash"]);
  EXPECT_EQ(from_pack["text"], from_folder["text"]);
}

// Two folders stand for two drives.
TEST(CliPack, VolumesShareTheExpertsAndAreFoundWhereTheyLie) {
  const TempFolder folder;
  for (const char* name : {"a", "b", "c"}) std::filesystem::create_directory(folder / name);
  const std::string pack = folder / "a/demo.pack", volume = folder / "b/demo.2";
  expect_done(run_switchyard({"pack", demo(), pack, "--volume", volume}));
  const auto first = std::filesystem::file_size(pack), second = std::filesystem::file_size(volume);
  EXPECT_NEAR(static_cast<double>(second), 96 * 98304.0, 98304.0) << "half of the experts";
  EXPECT_GT(first, second);
  expect_done(run_switchyard({"pack", "--verify", pack}));
  const auto run = [](const std::string& model, const std::vector<std::string>& more = {}) {
    std::vector<std::string> arguments = {"run",    model, "-p",       "Call me", "-n",     "24",
                                          "--temp", "0",   "--memory", "10MiB",   "--json", "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ChildResult child = run_switchyard(arguments);
    expect_done(child);
    return Json::parse(child.out);
  };
  const Json whole = run(demo());
  EXPECT_EQ(run(pack)["logits_hash"], whole["logits_hash"]);
  const Json buffered = run(pack, {"--buffered"});
  EXPECT_EQ(buffered["logits_hash"], whole["logits_hash"]);
  EXPECT_THAT(buffered["io"]["path"].get<std::string>(), HasSubstr("page cache"));
  // Moved together.
  const std::string moved = folder / "c/demo.pack";
  std::filesystem::rename(pack, moved);
  expect_refused(run_switchyard({"pack", demo(), moved, "--volume", volume}), 74, {"exists"});
  std::filesystem::rename(volume, folder / "c/demo.2");
  EXPECT_EQ(run(moved)["logits_hash"], whole["logits_hash"]);
  // Another one's, damaged, missing.
  expect_done(run_switchyard({"pack", fixture("olmoe"), pack, "--volume", volume}));
  std::filesystem::rename(folder / "c/demo.2", folder / "c/kept");
  std::filesystem::copy_file(volume, folder / "c/demo.2");
  std::filesystem::remove(volume);
  expect_refused(run_switchyard({"run", moved, "-p", "x"}), 65, {"demo.2", "no volume"});
  std::filesystem::rename(folder / "c/kept", folder / "c/demo.2");
  flip_byte(folder / "c/demo.2", second / 2);
  expect_refused(run_switchyard({"pack", "--verify", moved}), 65, {"demo.2"});
  std::filesystem::remove(folder / "c/demo.2");
  expect_refused(run_switchyard({"run", moved, "-p", "x"}), 66, {"demo.2", "missing"});
  expect_refused(run_switchyard({"pack", demo(), pack, "--volume", pack, "--force"}), 2, {"name"});
}

TEST(CliPack, DoesNotReplaceAFileUnasked) {
  const TempFolder folder;
  const std::string pack = folder / "olmoe.pack";
  write_text(pack, "mine");
  expect_refused(run_switchyard({"pack", fixture("olmoe"), pack}), 74, {pack, "exists"});
  expect_refused(run_switchyard({"pack", fixture("olmoe"), pack, "--force"}), 74,
                 {pack, "no pack"});
  EXPECT_EQ(read_text(pack), "mine");
  std::filesystem::remove(pack);
  expect_done(run_switchyard({"pack", fixture("olmoe"), pack}));
  write_text(pack + ".partial.journal", "left by one that was killed as it finished");
  expect_refused(run_switchyard({"pack", fixture("olmoe"), pack}), 74, {pack, "exists"});
  EXPECT_FALSE(std::filesystem::exists(pack + ".partial.journal"));
  expect_done(run_switchyard({"pack", fixture("olmoe"), pack, "--force"}));
  expect_done(run_switchyard({"pack", "--verify", pack}));
}

TEST(CliPack, VolumesKeepOutOfEachOthersWay) {
  const TempFolder folder;
  std::filesystem::create_directory(folder / "a");
  std::filesystem::create_directory_symlink(folder / "a", folder / "link");
  const std::string pack = folder / "a/olmoe.pack", volume = folder / "olmoe.2";
  const auto with = [&](const std::string& name) {
    return run_switchyard({"pack", fixture("olmoe"), pack, "--volume", name});
  };
  for (const char* name : {"a/olmoe.pack", "link/olmoe.pack", "a/olmoe.pack.partial",
                           "link/olmoe.pack.partial.journal"}) {
    expect_refused(with(folder / name), 2, {"name of its own"});
  }
  expect_refused(with(folder / "a/\xff"), 2, {"UTF-8"});
  EXPECT_TRUE(std::filesystem::is_empty(folder / "a"));
  // An interruption between the names of the two: the same command goes on.
  expect_done(with(volume));
  std::filesystem::rename(pack, pack + ".partial");
  expect_done(with(volume));
  expect_done(run_switchyard({"pack", "--verify", pack}));
  expect_refused(run_switchyard({"run", volume, "--ids", "1"}), 65, {"volume of a pack"});
  expect_refused(run_switchyard({"pack", "--verify", volume}), 2, {"volume of a pack"});
  expect_refused(run_switchyard({"pack", "--verify", pack, "--volume", volume}), 2, {"--volume"});
  // That of a pack with more volumes is another.
  const std::string other = folder / "other.pack", third = folder / "olmoe.3";
  std::filesystem::remove(volume);
  expect_done(
      run_switchyard({"pack", fixture("olmoe"), other, "--volume", volume, "--volume", third}));
  expect_refused(run_switchyard({"pack", "--verify", pack}), 65, {"no volume"});
}

TEST(Cli, OutputsDoNotReplaceWhatIsNotTheirs) {
  const TempFolder folder;
  const std::string text = folder / "book.txt", copy = folder / "model";
  write_text(text, "Call me Ishmael.");
  expect_refused(run_switchyard({"eval", demo(), "-f", text, "--json", text}), 74, {"no JSON"});
  expect_refused(run_switchyard({"run", demo(), "-f", text, "--spans", text}), 74, {"no JSON"});
  EXPECT_EQ(read_text(text), "Call me Ishmael.");
  std::filesystem::copy(fixture("olmoe"), copy);
  const auto size = std::filesystem::file_size(folder / "model/model.safetensors");
  expect_refused(run_switchyard({"eval", copy, "--ids", "1,2,3", "--dump-logits",
                                 folder / "model/model.safetensors"}),
                 74, {"of the model"});
  EXPECT_EQ(std::filesystem::file_size(folder / "model/model.safetensors"), size);
}

TEST(CliGroup, AnOrderIsAnotherModelAndTheSameOneEverywhere) {
  const TempFolder folder;
  const std::string trace = folder / "run.route", order = folder / "model.order";
  expect_done(run_switchyard({"eval", demo(), "-f", corpus("en-moby-dick-end.txt"), "--context",
                              "256", "--record-routing", trace}));
  const ChildResult grouped =
      run_switchyard({"group", "--trace", trace, "--out", order, "--world", "4", "--json", "-"});
  expect_done(grouped);
  const Json worlds = Json::parse(grouped.out)["worlds"];
  ASSERT_EQ(worlds.size(), 2u);
  EXPECT_EQ(worlds[1]["ranks"], 4);
  EXPECT_LT(worlds[1]["grouped"]["copies_random_owner"].get<double>(),
            0.9 * worlds[1]["plain"]["copies_random_owner"].get<double>());
  ASSERT_EQ(worlds[1]["ladders"].size(), 1u) << "the part that it did not learn from";
  const Json steps = worlds[1]["ladders"][0]["steps"];
  ASSERT_EQ(steps.size(), 8u);
  EXPECT_EQ(steps[0]["copies"], 3.0);
  EXPECT_EQ(steps[6]["step"], "replicas");
  EXPECT_LT(steps[6]["copies"].get<double>(), 0.6 * steps[2]["copies"].get<double>());
  const auto hash = [](const std::string& model, const std::vector<std::string>& more) {
    std::vector<std::string> arguments = {"run", model,    "-p", "Call me", "-n",
                                          "24",  "--temp", "0",  "--json",  "-"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ChildResult child = run_switchyard(arguments);
    expect_done(child);
    return Json::parse(child.out)["logits_hash"].get<std::string>();
  };
  const std::string ordered = hash(demo(), {"--order", order});
  EXPECT_NE(hash(demo(), {}), ordered);
  EXPECT_EQ(hash(demo(), {"--order", order, "--memory", "10MiB", "-t", "1", "--chunk", "3"}),
            ordered);
  const std::string pack = folder / "demo.pack";
  expect_done(run_switchyard({"pack", demo(), pack, "--order", order}));
  EXPECT_EQ(hash(pack, {"--memory", "10MiB"}), ordered);
  expect_refused(run_switchyard({"run", fixture("olmoe"), "-p", "x", "--order", order}), 65,
                 {"model.order", "group"});
  expect_refused(run_switchyard({"group", "--trace", trace}), 2, {"--out"});
  expect_refused(run_switchyard({"group", "--trace", trace, "--out", trace}), 74, {"no JSON"});
  expect_refused(run_switchyard({"group", "--trace", trace, "--out", order, "--measure", order}),
                 65, {"model.order"});
  expect_refused(
      run_switchyard({"group", "--trace", trace, "--out", order, "--measure",
                      std::string(SWITCHYARD_SOURCE_DIR) + "/tests/data/traces/qwen3-30b-a3b.csv"}),
      65, {"another shape"});
}

TEST(CliBench, MeasuresAModelBesideItsBounds) {
  const ChildResult child =
      run_switchyard({"bench", fixture("qwen3_moe"), "--prompt", "64", "-n", "8", "--repeat", "1",
                      "--memory", "16MiB", "--json", "-"});
  expect_done(child);
  const Json memory = Json::parse(child.out).at("memory");
  // The memory test is within the budget.
  EXPECT_LE(memory.at("probe_bytes"), 2 << 20);
  EXPECT_LE(memory.at("planned_bytes"), 16 << 20);
  EXPECT_GE(memory.at("planned_bytes"), memory.at("probe_bytes"));
}

TEST(CliDoctor, TellsWhatTheMachineOffers) {
  const TempFolder home;
  const ChildResult child =
      run_switchyard({"doctor", home.path()},
                     {.environment = {{"HOME", home.path()}, {"XDG_CACHE_HOME", home.path()}}});
  expect_done(child);
  for (const char* needle :
       {"cores", "avx", "NUMA", "memory", "io_uring", "O_DIRECT", "locked memory", "MPI", "CUDA"}) {
    EXPECT_THAT(child.out, HasSubstr(needle));
  }
}

}  // namespace
}  // namespace switchyard
