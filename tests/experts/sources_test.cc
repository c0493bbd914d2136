#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <vector>

#include "runtime/base/align.h"
#include "runtime/base/hash.h"
#include "tests/experts/test_model.h"

namespace switchyard {
namespace {

// Reads an expert as the cache does, without a queue. Aligned to pages, like a slot.
Result<std::vector<std::byte>> load(const ExpertSource& source, ExpertKey key) {
  std::vector<std::byte> slot(source.layout().slot_bytes(), std::byte{0xee});
  std::vector<std::byte> staging(source.staging_bytes());
  std::vector<StagedPiece> staged;
  uint64_t at = 0;
  for (const ExpertPiece& piece : source.pieces(key)) {
    std::byte* data = source.direct() ? slot.data() : staging.data() + at;
    TRY_STATUS(piece.file->read(piece.offset, {data, piece.bytes}));
    staged.push_back({data, piece.bytes, hash_bytes({data, piece.bytes})});
    at += piece.bytes;
  }
  TRY_STATUS(source.finish(key, staged, slot));
  slot.resize(source.layout().bytes());
  return slot;
}

TEST(ExpertSources, FolderAndPackGiveTheSameSlots) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    for (const auto& [hidden, intermediate] :
         {std::pair{1u, 1u}, {16u, 16u}, {7u, 33u}, {48u, 5u}, {65u, 130u}}) {
      SCOPED_TRACE(fmt::format("{} {} {}", dtype_name(dtype), hidden, intermediate));
      TestModel model({dtype, hidden, intermediate, 2, 3});
      const auto folder = model.folder_source();
      const auto pack = model.pack_source();
      EXPECT_FALSE(folder->direct());
      EXPECT_TRUE(pack->direct());
      EXPECT_EQ(folder->keys(), pack->keys());
      for (const ExpertKey key : model.keys()) {
        const auto from_folder = load(*folder, key);
        const auto from_pack = load(*pack, key);
        ASSERT_TRUE(from_folder && from_pack);
        ASSERT_EQ(*from_folder, model.kernel_ready(key));
        ASSERT_EQ(*from_pack, *from_folder);
      }
    }
  }
}

TEST(ExpertSources, PackPiecesArePageAligned) {
  TestModel model({});
  const auto pack = model.pack_source();
  for (const ExpertKey key : model.keys()) {
    const auto pieces = pack->pieces(key);
    ASSERT_EQ(pieces.size(), 1u);
    EXPECT_EQ(pieces[0].offset % kPageBytes, 0u);
    EXPECT_EQ(pieces[0].bytes, model.layout().bytes());
  }
}

TEST(ExpertSources, TensorsThatFollowEachOtherAreOnePiece) {
  TestModel model({});
  const auto folder = model.folder_source();
  uint64_t bytes_max = 0;
  for (const ExpertKey key : model.keys()) {
    const auto pieces = folder->pieces(key);
    ASSERT_EQ(pieces.size(), 1u);
    EXPECT_EQ(pieces[0].bytes, 3u * 24 * 17 * 2);
    bytes_max = std::max(bytes_max, bytes_in_pages(pieces[0]));
  }
  EXPECT_EQ(folder->staging_bytes(), bytes_max);
}

// All gates, then all ups, then all downs; the last ones in a file of their own.
TEST(ExpertSources, ScatteredTensors) {
  TestModel model({.layers = 1, .experts = 4});
  std::vector<TensorOut> first, second;
  for (const ExpertKey key : model.keys()) {
    const auto out = [&](const std::string& name) {
      return TensorOut{name, "BF16", model.shape_of(name), model.tensor(name)};
    };
    const ExpertTensorNames names = test_names(key);
    first.push_back(out(names.up));
    (key.expert == 3 ? second : first).push_back(out(names.down));
    second.push_back(out(names.gate));
  }
  ASSERT_TRUE(write_safetensors(model.folder() + "/a.safetensors", first));
  ASSERT_TRUE(write_safetensors(model.folder() + "/b.safetensors", second));
  std::string map;
  for (const TensorOut& tensor : first) map += fmt::format(R"(,"{}":"a.safetensors")", tensor.name);
  for (const TensorOut& tensor : second) {
    map += fmt::format(R"(,"{}":"b.safetensors")", tensor.name);
  }
  std::ofstream(model.folder() + "/model.safetensors.index.json")
      << R"({"weight_map":{)" << map.substr(1) << "}}";
  const auto checkpoint = Checkpoint::open(model.folder());
  ASSERT_TRUE(checkpoint) << to_line(checkpoint.error());
  const auto source = make_folder_source(*checkpoint, 24, 17, model.keys(), test_names);
  ASSERT_TRUE(source) << to_line(source.error());
  for (const ExpertKey key : model.keys()) {
    EXPECT_GE((*source)->pieces(key).size(), 2u);
    const auto slot = load(**source, key);
    ASSERT_TRUE(slot) << to_line(slot.error());
    ASSERT_EQ(*slot, model.kernel_ready(key));
  }
}

// The error of a checkpoint of one expert whose gate is as given (its type null: missing).
Error folder_error(const char* gate_dtype, std::vector<uint64_t> gate_shape, const char* other) {
  const std::vector<std::byte> zeros(1024);
  const auto bytes_of = [](std::string_view dtype) { return dtype == "BF16" ? 2u : 4u; };
  const auto out = [&](const std::string& name, const char* dtype, std::vector<uint64_t> shape) {
    return TensorOut{name, dtype, shape,
                     std::span(zeros).first(shape[0] * shape[1] * bytes_of(dtype))};
  };
  TestModel model({.hidden = 4, .intermediate = 6, .layers = 1, .experts = 1});
  const ExpertTensorNames names = test_names({0, 0});
  std::vector<TensorOut> tensors = {out(names.up, other, {6, 4}), out(names.down, other, {4, 6})};
  if (gate_dtype != nullptr) tensors.push_back(out(names.gate, gate_dtype, gate_shape));
  EXPECT_TRUE(write_safetensors(model.checkpoint_path(), tensors));
  const Checkpoint checkpoint = *Checkpoint::open(model.folder());
  const auto source = make_folder_source(checkpoint, 4, 6, model.keys(), test_names);
  EXPECT_FALSE(source);
  return source ? Error{} : source.error();
}

TEST(FolderSource, MissingTensor) {
  const Error error = folder_error(nullptr, {}, "BF16");
  EXPECT_EQ(error.code, Code::kBadData);
  EXPECT_NE(error.what.find("layers.0.experts.0.gate"), std::string::npos) << to_line(error);
}

TEST(FolderSource, WrongShape) {
  const Error error = folder_error("BF16", {4, 6}, "BF16");
  EXPECT_EQ(error.code, Code::kBadData);
  EXPECT_NE(error.what.find("[4, 6], not [6, 4]"), std::string::npos) << to_line(error);
  EXPECT_NE(error.where.find("model.safetensors, tensor layers.0.experts.0.gate"),
            std::string::npos)
      << to_line(error);
}

TEST(FolderSource, TypesThatAreNotComputed) {
  const Error error = folder_error("I32", {6, 4}, "BF16");
  EXPECT_EQ(error.code, Code::kConfig);
  EXPECT_NE(error.what.find("I32"), std::string::npos) << to_line(error);
}

TEST(FolderSource, MixedTypes) {
  const Error error = folder_error("F32", {6, 4}, "BF16");
  EXPECT_EQ(error.code, Code::kConfig);
  EXPECT_NE(error.what.find("BF16"), std::string::npos) << to_line(error);
  EXPECT_NE(error.what.find("F32"), std::string::npos) << to_line(error);
}

TEST(FolderSource, NaNIsNamed) {
  for (const uint16_t bits : {0x7f80, 0xff80, 0x7fc0}) {
    TestModel model({});
    std::memcpy(model.tensor(test_names({1, 6}).up).data() + 2 * 55, &bits, 2);
    const auto source = model.folder_source();
    EXPECT_TRUE(load(*source, {1, 5}));
    const auto slot = load(*source, {1, 6});
    ASSERT_FALSE(slot);
    EXPECT_EQ(slot.error().code, Code::kBadData);
    EXPECT_EQ(slot.error().what, "NaN or infinity");
    EXPECT_EQ(slot.error().where,
              model.checkpoint_path() + ", tensor layers.1.experts.6.up, layer 1, expert 6");
  }
}

TEST(PackSource, MissingSectionAndOtherDimensions) {
  TestModel model({.layers = 1, .experts = 2});
  ASSERT_TRUE(model.write_pack());
  const PackReader pack = *PackReader::open(model.pack_path());
  const auto missing = make_pack_source({pack}, 24, 17, {{0, 0}, {0, 2}});
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, Code::kBadData);
  EXPECT_NE(missing.error().what.find("expert/0/2"), std::string::npos);
  const auto other = make_pack_source({pack}, 17, 24, model.keys());
  ASSERT_FALSE(other);
  EXPECT_EQ(other.error().code, Code::kBadData);
  EXPECT_NE(other.error().where.find("expert/0/0"), std::string::npos);
}

// A pack of two experts, the second as given.
Status open_pack_with(size_t bytes, const PackAttributes& attributes) {
  TestModel model({.layers = 1, .experts = 2});
  {
    PackWriter writer = TRY(PackWriter::create(model.pack_path(), "test"));
    TRY_STATUS(writer.add(pack_expert_name({0, 0}), model.kernel_ready({0, 0}),
                          pack_expert_attributes(model.layout())));
    TRY_STATUS(writer.add(pack_expert_name({0, 1}), std::vector<std::byte>(bytes), attributes));
    TRY_STATUS(writer.finish());
  }
  const PackReader pack = TRY(PackReader::open(model.pack_path()));
  TRY(make_pack_source({pack}, 24, 17, model.keys()));
  return {};
}

TEST(PackSource, SectionsThatAreNoExpert) {
  const ExpertLayout layout{DType::kBF16, 24, 17};
  const ExpertLayout wide{DType::kF32, 24, 17};
  EXPECT_TRUE(open_pack_with(layout.bytes(), pack_expert_attributes(layout)));
  EXPECT_FALSE(open_pack_with(layout.bytes() - 1, pack_expert_attributes(layout)));
  EXPECT_FALSE(open_pack_with(layout.bytes(), {}));
  EXPECT_FALSE(open_pack_with(layout.bytes(), pack_expert_attributes(wide)));
  EXPECT_FALSE(open_pack_with(wide.bytes(), pack_expert_attributes(wide)));
}

}  // namespace
}  // namespace switchyard
