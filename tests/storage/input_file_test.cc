#include "storage/input_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

class InputFileTest : public testing::Test {
 protected:
  InputFileTest() { write_text(path_, "twelve bytes"); }

  TempFolder folder_;
  const std::string path_ = folder_ / "file";
};

TEST_F(InputFileTest, ReadsExactlyWhatIsAsked) {
  const auto file = InputFile::open(path_).value();
  EXPECT_EQ(file->size_bytes(), 12u);
  EXPECT_TRUE(file->direct_fd() >= 0 || !file->direct_refusal().empty());
  std::string text(5, '\0');
  ASSERT_TRUE(file->read(7, std::as_writable_bytes(std::span(text))).has_value());
  EXPECT_EQ(text, "bytes");
}

TEST_F(InputFileTest, EndingEarlyIsDamage) {
  const auto file = InputFile::open(path_).value();
  std::string text(6, '\0');
  const Status status = file->read(7, std::as_writable_bytes(std::span(text)));
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kBadData);
  EXPECT_EQ(status.error().where, path_);
  EXPECT_NE(status.error().what.find("truncated"), std::string::npos);
}

TEST_F(InputFileTest, RefusesWhatIsNoFile) {
  EXPECT_EQ(InputFile::open(folder_ / "absent").error().code, Code::kNoInput);
  EXPECT_EQ(InputFile::open(folder_.path()).error().code, Code::kBadData);
  ASSERT_EQ(::mkfifo((folder_ / "fifo").c_str(), 0600), 0);
  EXPECT_EQ(InputFile::open(folder_ / "fifo").error().code, Code::kBadData);
}

struct Change {
  const char* expected;
  void (*make)(const std::string& path);
};

void PrintTo(const Change& change, std::ostream* out) { *out << change.expected; }

class InputFileChangeTest : public testing::TestWithParam<Change> {};

TEST_P(InputFileChangeTest, IsNoticed) {
  TempFolder folder;
  const std::string path = folder / "file";
  write_text(path, "twelve bytes");
  const auto file = InputFile::open(path).value();
  EXPECT_TRUE(file->unchanged().has_value());
  GetParam().make(path);
  const Status status = file->unchanged();
  ASSERT_FALSE(status.has_value());
  EXPECT_EQ(status.error().code, Code::kBadData);
  EXPECT_EQ(status.error().where, path);
  EXPECT_NE(status.error().what.find(GetParam().expected), std::string::npos)
      << to_line(status.error());
}

INSTANTIATE_TEST_SUITE_P(
    Changes, InputFileChangeTest,
    testing::Values(
        Change{"truncated", [](const std::string& p) { std::filesystem::resize_file(p, 3); }},
        Change{"rewritten", [](const std::string& p) { write_text(p, "twelve bytes and more"); }},
        Change{"replaced",
               [](const std::string& p) {
                 std::filesystem::copy(p, p + "2");
                 std::filesystem::rename(p + "2", p);
               }},
        Change{"gone", [](const std::string& p) { std::filesystem::rename(p, p + "2"); }}));

}  // namespace
}  // namespace switchyard
