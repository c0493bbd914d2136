// Tokenizers, texts, budgets, drives and files that change while open: one clear line and the
// right exit code.

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>

#include <cerrno>
#include <cstring>
#include <filesystem>

#include "storage/pack_reader.h"
#include "tests/e2e/child.h"
#include "tests/e2e/damage.h"

namespace switchyard {
namespace {

using Json = nlohmann::json;
namespace fs = std::filesystem;

const std::string& demo() { return test_model("demo").path; }
std::string fixture(const std::string& name) { return test_model(name).path; }

ChildResult run_prompt(const std::string& model, const std::string& prompt) {
  return run_switchyard({"run", model, "-p", prompt, "-n", "2", "--memory", "64MiB"});
}

// The demo's tokenizer in a folder of its own.
class BadTokenizer : public testing::Test {
 protected:
  BadTokenizer() : tokenizer_(Json::parse(read_text(demo() + "/tokenizer.json"))) {}

  ChildResult tokenize() {
    write_text(folder_ / "tokenizer.json", tokenizer_.dump());
    return run_switchyard({"tokenize", folder_.path(), "-p", "Call me Ishmael."});
  }

  TempFolder folder_;
  Json tokenizer_;
};

TEST_F(BadTokenizer, WithoutDamageItWorks) { expect_done(tokenize()); }

TEST_F(BadTokenizer, WithACycle) {
  tokenizer_["model"]["merges"] = Json::array({Json::array({"a", ""})});
  expect_refused(tokenize(), 65, {"tokenizer.json", "cycle"});
}

TEST_F(BadTokenizer, WithAMergeOfUnknownTokens) {
  tokenizer_["model"]["merges"].push_back({"no such", "token"});
  expect_refused(tokenize(), 65, {"tokenizer.json"});
}

TEST_F(BadTokenizer, WithAnAbsurdId) {
  for (const Json& id : {Json(-1), Json(int64_t{1} << 40), Json("7"), Json(1e300)}) {
    tokenizer_["model"]["vocab"]["zzz"] = id;
    expect_refused(tokenize(), 65, {"tokenizer.json"});
  }
}

TEST_F(BadTokenizer, OfAKindThatIsNotKnown) {
  tokenizer_["model"]["type"] = "Unigram";
  expect_refused(tokenize(), 78, {"tokenizer.json", "Unigram"});
}

TEST_F(BadTokenizer, NestedWithoutEnd) {
  // 200 levels: enough to be refused, few enough for the library that writes the file.
  Json normalizer = {{"type", "NFC"}};
  for (int depth = 0; depth < 200; ++depth) {
    normalizer = {{"type", "Sequence"}, {"normalizers", Json::array({std::move(normalizer)})}};
  }
  tokenizer_["normalizer"] = std::move(normalizer);
  expect_refused(tokenize(), 65, {"tokenizer.json"});
}

TEST_F(BadTokenizer, MissingWhereTextIsGiven) {
  expect_refused(run_prompt(fixture("olmoe"), "text"), 66, {"tokenizer.json", "--ids"});
}

TEST(BadText, NotUtf8) {
  const TempFolder folder;
  write_text(folder / "prompt.txt", "caf\xe9");
  expect_refused(run_prompt(demo(), "caf\xe9"), 65, {"UTF-8"});
  expect_refused(run_switchyard({"run", demo(), "-f", folder / "prompt.txt"}), 65,
                 {"UTF-8", "prompt.txt"});
  expect_refused(run_switchyard({"run", demo(), "-f", "-"}, {.input = "\xc3("}), 65, {"UTF-8"});
  expect_refused(run_switchyard({"eval", demo(), "-f", folder / "prompt.txt"}), 65, {"UTF-8"});
}

TEST(BadText, OverflowsTheContext) {
  std::string text;
  for (int i = 0; i < 3000; ++i) text += " sea";
  const ChildResult child = run_prompt(demo(), text);
  expect_refused(child, 2, {"context", "2048"});
  expect_refused(run_switchyard({"run", demo(), "-p", "one two three four five six seven eight",
                                 "--context", "4", "--memory", "64MiB"}),
                 2, {"context", "4"});
}

TEST(BadText, MissingFile) {
  expect_refused(run_switchyard({"run", demo(), "-f", "/nowhere/prompt.txt"}), 66,
                 {"/nowhere/prompt.txt"});
}

TEST(BadBudget, TooSmall) {
  for (const char* memory : {"0", "1", "1MiB"}) {
    expect_refused(run_switchyard({"run", demo(), "-p", "x", "--memory", memory}), 71, {"MiB"});
  }
}

// Whatever was written under the final name would look whole.
void expect_no_pack(const std::string& path) { EXPECT_FALSE(fs::exists(path)) << path; }

TEST(DriveFull, WhilePacking) {
  TempFolder folder;
  const std::string place = folder / "small";
  fs::create_directory(place);
  if (::mount("tmpfs", place.c_str(), "tmpfs", 0, "size=256k") != 0) {
    GTEST_SKIP() << "cannot mount a small tmpfs: " << std::strerror(errno);
  }
  const ChildResult child = run_switchyard({"pack", fixture("olmoe"), place + "/olmoe.pack"});
  expect_no_pack(place + "/olmoe.pack");
  EXPECT_EQ(::umount(place.c_str()), 0);
  expect_refused(child, 74, {"olmoe.pack", "No space left"});
}

TEST(DriveFull, AtAFileSizeLimit) {
  TempFolder folder;
  const std::string path = folder / "olmoe.pack";
  expect_refused(run_switchyard({"pack", fixture("olmoe"), path}, {.file_bytes_max = 100000}), 74,
                 {"olmoe.pack"});
  expect_no_pack(path);
}

// Every byte of a pack that is ever used is checksummed.
TEST(BadPack, AFlippedByteAnywhereIsFound) {
  TempFolder folder;
  const std::string path = folder / "qwen2.pack";
  expect_done(run_switchyard({"pack", fixture("qwen2_moe"), path}));
  const std::string whole = read_text(path);
  std::vector<uint64_t> places = {0, 9, 20, 40, whole.size() - 1};
  {
    const auto pack = PackReader::open(path);
    ASSERT_TRUE(pack);
    for (size_t i = 0; i < pack->sections().size(); i += 5) {
      const PackSection& section = pack->sections()[i];
      places.push_back(section.offset + section.bytes / 2);
    }
  }
  for (const uint64_t place : places) {
    flip_byte(path, place);
    SCOPED_TRACE(place);
    const ChildResult verify = run_switchyard({"pack", "--verify", path});
    const ChildResult run = run_switchyard({"run", path, "--ids", "5,6,7", "-n", "2"});
    if (place == 0) {  // no longer looks like a pack
      EXPECT_THAT(verify.exit_code, testing::AnyOf(65, 66));
      EXPECT_THAT(run.exit_code, testing::AnyOf(65, 66));
    } else {
      expect_refused(verify, 65, {"qwen2.pack"});
      expect_refused(run, 65, {"qwen2.pack"});
    }
    flip_byte(path, place);
  }
  expect_done(run_switchyard({"pack", "--verify", path}));
}

TEST(BadPack, Truncated) {
  TempFolder folder;
  const std::string path = folder / "olmoe.pack";
  expect_done(run_switchyard({"pack", fixture("olmoe"), path}));
  const std::string whole = read_text(path);
  for (const size_t bytes : {whole.size() - 1, whole.size() / 2, size_t{5000}, size_t{20}}) {
    write_text(path, whole.substr(0, bytes));
    expect_refused(run_switchyard({"run", path, "--ids", "1"}), 65, {"olmoe.pack"});
  }
}

// The demo at a budget that reads experts for every token; `damage` strikes once text appears.
class WhileOpen : public testing::TestWithParam<const char*> {
 protected:
  WhileOpen() {
    if (std::string_view(GetParam()) == "pack") {
      path_ = weights_ = folder_ / "demo.pack";
      expect_done(run_switchyard({"pack", demo(), path_}));
    } else {
      path_ = folder_ / "demo";
      fs::copy(demo(), path_);
      weights_ = path_ + "/model.safetensors";
    }
  }

  ChildResult run(const std::function<void()>& damage) {
    return run_switchyard({"run", path_, "-p", "The", "-n", "600", "--temp", "0", "--memory",
                           "10MiB", "--ignore-eos"},
                          {.on_first_output = [&](int) { damage(); }});
  }

  TempFolder folder_;
  std::string path_;
  std::string weights_;
};

TEST_P(WhileOpen, BitsFlip) {
  const ChildResult child = run([&] { invert_from(weights_, 65536); });
  expect_refused(child, 65, {weights_, "layer", "expert"});
}

TEST_P(WhileOpen, TheFileIsTruncated) {
  const ChildResult child = run([&] { fs::resize_file(weights_, 65536); });
  expect_refused(child, 65, {weights_, "layer", "expert"});
}

TEST_P(WhileOpen, TheFileIsReplaced) {
  const ChildResult child = run([&] {
    std::string other = read_text(weights_);
    for (size_t i = 65536; i < other.size(); ++i) other[i] = static_cast<char>(~other[i]);
    write_text(weights_ + ".new", other);
    fs::rename(weights_ + ".new", weights_);
  });
  expect_refused(child, 65, {weights_, "layer", "expert"});
}

INSTANTIATE_TEST_SUITE_P(All, WhileOpen, testing::Values("folder", "pack"),
                         [](const auto& test) { return std::string(test.param); });

}  // namespace
}  // namespace switchyard
