#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <vector>

#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/base/json.h"
#include "runtime/base/prng.h"
#include "runtime/base/result.h"
#include "runtime/base/tree.h"

namespace switchyard {
namespace {

TEST(Error, IsOneLineWhateverItQuotes) {
  const Error error{Code::kBadData, "bad\nname", "a\tfile", "mend it"};
  EXPECT_EQ(to_line(error), "a\\x09file: bad\\x0aname; mend it");
}

TEST(Error, OfASystemCallHasTheExitCodeOfItsCause) {
  EXPECT_EQ(fail_errno(ENOENT, "open", "x").value().code, Code::kNoInput);
  EXPECT_EQ(fail_errno(EACCES, "open", "x").value().code, Code::kPermission);
  EXPECT_EQ(fail_errno(EIO, "read", "x").value().code, Code::kIo);
}

Result<int> half(int value) {
  if (value % 2 != 0) return fail(Code::kBadData, "odd");
  return value / 2;
}
Result<int> quarter(int value) { return half(TRY(half(value))); }

TEST(Try, GivesTheValueOrReturnsTheError) {
  EXPECT_EQ(quarter(12).value(), 3);
  EXPECT_EQ(quarter(6).error().what, "odd");
}

// The tree sum spelled as text, so that associations can be compared.
std::string spelled(const std::vector<uint32_t>& active, uint32_t leaves) {
  const auto leaf = [&](uint32_t i) { return std::to_string(active[i]); };
  const auto join = [](const std::string& a, const std::string& b) {
    return fmt::format("({}+{})", a, b);
  };
  return tree_sum(active.data(), 0, static_cast<uint32_t>(active.size()), 0, leaves, leaf, join);
}

TEST(Tree, SplitsAtTheLargestPowerOfTwoBelow) {
  EXPECT_EQ(spelled({0, 1, 2, 3, 4, 5, 6}, 7), "(((0+1)+(2+3))+((4+5)+6))");
  EXPECT_EQ(spelled({0, 1, 2, 3, 4}, 5), "(((0+1)+(2+3))+4)");
}

TEST(Tree, InactiveLeavesContributeNothing) {
  EXPECT_EQ(spelled({1, 2, 3}, 8), "(1+(2+3))");
  EXPECT_EQ(spelled({0, 3, 7}, 8), "((0+3)+7)");
  EXPECT_EQ(spelled({6}, 8), "6");
}

TEST(Utf8, KnowsWholeCharactersFromBrokenOnes) {
  EXPECT_TRUE(is_utf8("plain, \xc3\xa9, \xe2\x82\xac, \xf0\x9f\x98\x80"));
  for (const char* broken : {"\xc3", "\xff", "\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80",
                             "\xe0\x80\x80", "\x80", "a\xf0\x9f\x98"}) {
    EXPECT_FALSE(is_utf8(broken)) << broken;
  }
}

TEST(Json, IsBoundedInDepth) {
  EXPECT_EQ(parse_json("{\"a\": [1]}", "f").value()["a"][0], 1);
  EXPECT_EQ(parse_json("{", "f").error().code, Code::kBadData);
  EXPECT_EQ(parse_json(std::string(100000, '['), "f").error().code, Code::kBadData);
  const std::string deep = std::string(65, '[') + std::string(65, ']');
  EXPECT_FALSE(parse_json(deep, "f").has_value());
}

TEST(Json, EndsWithTheText) {
  using std::string_view_literals::operator""sv;
  for (const std::string_view text :
       {"{}\0"sv, "{}\0}"sv, "\0{}"sv, "{\"a\": 1\0}"sv, "{}\n\0\n"sv}) {
    const auto value = parse_json(text, "f");
    ASSERT_FALSE(value.has_value()) << text;
    EXPECT_EQ(value.error().code, Code::kBadData);
    EXPECT_NE(value.error().what.find("not valid JSON: a NUL byte at"), std::string::npos);
  }
  EXPECT_FALSE(parse_json("{} x", "f").has_value());
  EXPECT_TRUE(parse_json("{} \n", "f").has_value());
}

TEST(Hash, OfPiecesIsTheHashOfTheWhole) {
  std::vector<std::byte> bytes(10000);
  Prng prng(5);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.next());
  Hasher hasher;
  for (size_t at = 0; at < bytes.size();) {
    const size_t count = std::min<size_t>(1 + prng.below(700), bytes.size() - at);
    hasher.update(std::span(bytes).subspan(at, count));
    at += count;
  }
  EXPECT_EQ(hasher.digest(), hash_bytes(bytes));
  bytes[777] ^= std::byte{1};
  EXPECT_NE(hasher.digest(), hash_bytes(bytes));
}

TEST(TextFile, IsBoundedAndWrittenWhole) {
  const auto folder = std::filesystem::temp_directory_path() /
                      ("switchyard_base_test_" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const std::string path = folder / "file";
  ASSERT_TRUE(write_file_atomically(path, "12345"));
  EXPECT_EQ(read_text_file(path, 5).value(), "12345");
  EXPECT_EQ(read_text_file(path, 4).error().code, Code::kBadData);
  EXPECT_EQ(read_text_file(folder, 4).error().code, Code::kNoInput);
  EXPECT_EQ(read_text_file(path + "x", 4).error().code, Code::kNoInput);
  EXPECT_EQ(write_file_atomically(path + "/x", "1").error().code, Code::kIo);
  const auto entries = std::filesystem::directory_iterator(folder);
  EXPECT_EQ(std::distance(begin(entries), end(entries)), 1) << "no temporary file is left";
  std::filesystem::remove_all(folder);
}

TEST(TextFile, OutputsFollowLinksAndReplaceRegularFilesOnly) {
  const auto folder = std::filesystem::temp_directory_path() /
                      ("switchyard_output_test_" + std::to_string(::getpid()));
  std::filesystem::create_directory(folder);
  const std::string file = folder / "file", link = folder / "link", pipe = folder / "pipe";
  ASSERT_TRUE(write_file_atomically(file, "old"));
  std::filesystem::create_symlink("file", link);
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  ASSERT_TRUE(write_file_atomically(link, "new"));
  EXPECT_TRUE(std::filesystem::is_symlink(link));
  EXPECT_EQ(read_text_file(file, 10).value(), "new");
  EXPECT_EQ(write_file_atomically(pipe, "x").error().code, Code::kIo);
  EXPECT_TRUE(std::filesystem::is_fifo(pipe));
  EXPECT_EQ(read_text_file(pipe, 10).error().code, Code::kNoInput) << "and does not wait";
  EXPECT_EQ(output_target("").error().code, Code::kIo);
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace switchyard
