#include "experts/staged_source.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "storage/input_file.h"
#include "tests/experts/test_model.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

TEST(StagedSource, HoldsTheSameBytesInAFileWithoutAName) {
  TestModel model({});
  const auto packed = model.pack_source();
  const ExpertSource& source = *packed;
  const TempFolder folder;
  uint64_t done = 0;
  const auto staged =
      stage_experts(source, folder.path(), [&](uint64_t bytes) { done = bytes; }).value();
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
  uint64_t all = 0;
  for (const ExpertKey key : source.keys()) {
    const auto before = source.pieces(key), after = staged->pieces(key);
    ASSERT_EQ(before.size(), after.size());
    for (size_t i = 0; i < before.size(); ++i) {
      ASSERT_EQ(before[i].bytes, after[i].bytes);
      EXPECT_NE(before[i].file, after[i].file);
      std::vector<std::byte> expected(before[i].bytes), got(before[i].bytes);
      ASSERT_TRUE(before[i].file->read(before[i].offset, expected));
      ASSERT_TRUE(after[i].file->read(after[i].offset, got));
      EXPECT_EQ(expected, got);
      all += before[i].bytes;
    }
  }
  EXPECT_EQ(done, all);
}

TEST(StagedSource, FailsByTheNameOfItsFolder) {
  TestModel model({});
  const auto source = model.pack_source();
  const TempFolder folder;
  const auto staged = stage_experts(*source, folder.path(), {}).value();
  const ExpertPiece piece = staged->pieces(source->keys().front()).front();
  std::vector<std::byte> bytes(piece.file->size_bytes() + 1);
  const Status read = piece.file->read(0, bytes);
  ASSERT_FALSE(read);
  EXPECT_EQ(read.error().where, "the copy in " + folder.path());
}

TEST(StagedSource, SaysWhichFolderIsNotThere) {
  TestModel model({});
  const auto source = model.folder_source();
  const auto staged = stage_experts(*source, "/nowhere/at/all", {});
  ASSERT_FALSE(staged);
  EXPECT_EQ(staged.error().code, Code::kNoInput);
  EXPECT_NE(to_line(staged.error()).find("/nowhere/at/all"), std::string::npos);
}

}  // namespace
}  // namespace switchyard
