#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>

#include "storage/safetensors.h"
#include "storage/safetensors_writer.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

constexpr const char* kIndexName = "model.safetensors.index.json";

class CheckpointTest : public testing::Test {
 protected:
  // Writes a file of F32 vectors named as given, tensor i holding the number i + 1.
  void write_shard(const std::string& file, const std::vector<std::string>& names) {
    std::vector<float> values(names.size());
    std::vector<TensorOut> tensors;
    for (size_t i = 0; i < names.size(); ++i) {
      values[i] = static_cast<float>(i + 1);
      tensors.push_back({names[i], "F32", {1}, std::as_bytes(std::span(&values[i], 1))});
    }
    ASSERT_TRUE(write_safetensors(folder_ / file, tensors).has_value());
  }

  Error open_error() {
    const auto checkpoint = Checkpoint::open(folder_.path());
    if (checkpoint) {
      ADD_FAILURE() << "opened";
      return {};
    }
    return checkpoint.error();
  }

  TempFolder folder_;
};

TEST_F(CheckpointTest, SingleFile) {
  write_shard("model.safetensors", {"b", "a", "c"});
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.has_value()) << to_line(checkpoint.error());
  ASSERT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->tensors()[0].name, "a");
  EXPECT_EQ(checkpoint->find("absent"), nullptr);
  const TensorInfo* c = checkpoint->find("c");
  ASSERT_NE(c, nullptr);
  float value = 0;
  ASSERT_TRUE(checkpoint->read(*c, std::as_writable_bytes(std::span(&value, 1))).has_value());
  EXPECT_EQ(value, 3);
}

TEST_F(CheckpointTest, IndexRules) {
  write_shard("model.safetensors", {"stale"});
  write_shard("one", {"a", "unlisted"});
  write_shard("two", {"b", "c"});
  write_text(folder_ / kIndexName, R"({"weight_map":{"c":"two","a":"one","b":"two"}})");
  const auto checkpoint = Checkpoint::open(folder_.path());
  ASSERT_TRUE(checkpoint.has_value()) << to_line(checkpoint.error());
  ASSERT_EQ(checkpoint->tensors().size(), 3u);
  EXPECT_EQ(checkpoint->find("stale"), nullptr);
  EXPECT_EQ(checkpoint->find("unlisted"), nullptr);
  const TensorInfo* c = checkpoint->find("c");
  ASSERT_NE(c, nullptr);
  EXPECT_EQ(checkpoint->file(c->file).path(), folder_ / "two");
  EXPECT_TRUE(checkpoint->unchanged().has_value());
  write_shard("two", {"b", "c"});
  EXPECT_EQ(checkpoint->unchanged().error().where, folder_ / "two");
}

TEST_F(CheckpointTest, IndexListsATensorThatItsShardLacks) {
  write_shard("one", {"a"});
  write_text(folder_ / kIndexName, R"({"weight_map":{"a":"one","b":"one"}})");
  const Error error = open_error();
  EXPECT_EQ(error.code, Code::kBadData);
  EXPECT_EQ(error.where, folder_ / "one");
  EXPECT_NE(error.what.find("no tensor b"), std::string::npos) << error.what;
}

TEST_F(CheckpointTest, IndexListsAMissingShard) {
  write_text(folder_ / kIndexName, R"({"weight_map":{"a":"one"}})");
  const Error error = open_error();
  EXPECT_EQ(error.code, Code::kNoInput);
  EXPECT_EQ(error.where, folder_ / "one");
}

TEST_F(CheckpointTest, TruncatedShard) {
  write_shard("one", {"a"});
  write_text(folder_ / kIndexName, R"({"weight_map":{"a":"one"}})");
  std::filesystem::resize_file(folder_ / "one", std::filesystem::file_size(folder_ / "one") - 1);
  const Error error = open_error();
  EXPECT_EQ(error.code, Code::kBadData);
  EXPECT_EQ(error.where, folder_ / "one");
  EXPECT_NE(error.what.find("past the end of the file"), std::string::npos) << error.what;
}

TEST_F(CheckpointTest, WhatIsNoCheckpointIsNamed) {
  EXPECT_EQ(open_error().code, Code::kNoInput);
  EXPECT_EQ(Checkpoint::open(folder_ / "absent").error().code, Code::kNoInput);

  write_text(folder_ / "pytorch_model.bin", "x");
  EXPECT_EQ(open_error().code, Code::kConfig);
  write_text(folder_ / "m.gguf", "GGUF\3\0\0\0");
  EXPECT_NE(open_error().what.find("GGUF"), std::string::npos);
  EXPECT_EQ(open_error().code, Code::kConfig);
  EXPECT_EQ(Checkpoint::open(folder_ / "m.gguf").error().code, Code::kConfig);
  EXPECT_EQ(Checkpoint::open(folder_ / "pytorch_model.bin").error().code, Code::kNoInput);

  write_shard("model-00001-of-00002.safetensors", {"a"});
  const Error error = open_error();
  EXPECT_EQ(error.code, Code::kNoInput);
  EXPECT_NE(error.hint.find(kIndexName), std::string::npos) << error.hint;
}

TEST_F(CheckpointTest, UnreadableFolder) {
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0), 0);
  Error error;
  {
    const WithoutPrivilege guard;
    error = open_error();
  }
  ASSERT_EQ(::chmod(folder_.path().c_str(), 0700), 0);
  EXPECT_EQ(error.code, Code::kPermission);
}

TEST(SafetensorsWriter, RoundTrip) {
  TempFolder folder;
  const std::string path = folder / "out.safetensors";
  const std::vector<int64_t> ids{5, -6};
  const std::vector<uint16_t> halves{1, 2, 3};
  const TensorOut tensors[] = {{"ids", "I64", {2}, std::as_bytes(std::span(ids))},
                               {"halves", "BF16", {3, 1}, std::as_bytes(std::span(halves))}};
  ASSERT_TRUE(write_safetensors(path, tensors).has_value());
  const auto file = InputFile::open(path).value();
  const auto read = read_safetensors_header(*file);
  ASSERT_TRUE(read.has_value()) << to_line(read.error());
  EXPECT_EQ(read->at(0).name, "ids");
  EXPECT_EQ(read->at(0).offset % 8, 0u);
  EXPECT_EQ(read->at(1).shape, (std::vector<uint64_t>{3, 1}));
  std::vector<int64_t> back(2);
  ASSERT_TRUE(file->read(read->at(0).offset, std::as_writable_bytes(std::span(back))).has_value());
  EXPECT_EQ(back, ids);
}

TEST(SafetensorsWriter, StreamAppearsWhenFinished) {
  TempFolder folder;
  const std::string path = folder / "out.safetensors";
  const std::vector<float> row{1, 2, 3};
  {
    auto stream = SafetensorsStream::create(path, "logits", "F32", {2, 3});
    ASSERT_TRUE(stream.has_value());
    ASSERT_TRUE(stream->append(std::as_bytes(std::span(row))).has_value());
    EXPECT_FALSE(std::filesystem::exists(path));
  }
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));

  SafetensorsStream stream = SafetensorsStream::create(path, "logits", "F32", {2, 3}).value();
  for (int i = 0; i < 2; ++i) ASSERT_TRUE(stream.append(std::as_bytes(std::span(row))).has_value());
  ASSERT_TRUE(stream.finish().has_value());
  const auto file = InputFile::open(path).value();
  const auto tensors = read_safetensors_header(*file);
  ASSERT_TRUE(tensors.has_value()) << to_line(tensors.error());
  EXPECT_EQ(tensors->at(0).bytes, 24u);
}

TEST(SafetensorsWriter, MissingFolderIsAnIoError) {
  TempFolder folder;
  const std::string path = folder / "absent/out.safetensors";
  EXPECT_EQ(SafetensorsStream::create(path, "a", "F32", {1}).error().code, Code::kIo);
  EXPECT_EQ(write_safetensors(path, {}).error().code, Code::kIo);
}

}  // namespace
}  // namespace switchyard
