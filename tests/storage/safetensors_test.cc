#include "storage/safetensors.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

constexpr uint64_t kDataBegin = 1000;
constexpr uint64_t kDataBytes = 32;

Result<std::vector<TensorInfo>> parse(std::string_view json, uint64_t data_bytes = kDataBytes) {
  return parse_safetensors_header(json, kDataBegin, kDataBegin + data_bytes, "file");
}

constexpr const char* kGood = R"({"__metadata__":{"format":"pt"},
  "b":{"dtype":"F32","shape":[2,3],"data_offsets":[8,32]},
  "a":{"dtype":"BF16","shape":[4],"data_offsets":[0,8]}})";

TEST(SafetensorsHeader, GivesTensorsByOffset) {
  const auto tensors = parse(kGood);
  ASSERT_TRUE(tensors.has_value()) << to_line(tensors.error());
  ASSERT_EQ(tensors->size(), 2u);
  EXPECT_EQ(tensors->at(0).name, "a");
  EXPECT_EQ(tensors->at(0).dtype, "BF16");
  EXPECT_EQ(tensors->at(0).offset, kDataBegin);
  EXPECT_EQ(tensors->at(0).bytes, 8u);
  EXPECT_EQ(tensors->at(1).shape, (std::vector<uint64_t>{2, 3}));
  EXPECT_EQ(tensors->at(1).offset, kDataBegin + 8);
}

TEST(SafetensorsHeader, EmptyTensorsAndScalars) {
  const auto tensors = parse(R"({"s":{"dtype":"I64","shape":[],"data_offsets":[0,8]},
    "z":{"dtype":"F32","shape":[0,5],"data_offsets":[0,0]}})",
                             8);
  ASSERT_TRUE(tensors.has_value()) << to_line(tensors.error());
  EXPECT_EQ(tensors->at(0).name, "z");
  EXPECT_EQ(tensors->at(1).shape, std::vector<uint64_t>{});
}

struct BadText {
  const char* name;
  const char* text;
  const char* expected;  // in the error
};

void PrintTo(const BadText& bad, std::ostream* out) { *out << bad.name; }
std::string name_of(const testing::TestParamInfo<BadText>& info) { return info.param.name; }

class BadHeaderTest : public testing::TestWithParam<BadText> {};

TEST_P(BadHeaderTest, IsRefusedByName) {
  const auto tensors = parse(GetParam().text);
  ASSERT_FALSE(tensors.has_value());
  EXPECT_EQ(tensors.error().code, Code::kBadData);
  EXPECT_EQ(tensors.error().where, "file");
  EXPECT_NE(tensors.error().what.find(GetParam().expected), std::string::npos)
      << to_line(tensors.error());
}

INSTANTIATE_TEST_SUITE_P(
    All, BadHeaderTest,
    testing::Values(
        BadText{"NotJson", "{\"a\":", "not valid JSON"},
        BadText{"Array", "[]", "does not begin with {"},
        BadText{"Empty", "", "does not begin with {"},
        BadText{"NotAnObject", R"({"a":5})", "tensor a: must be an object"},
        BadText{"NoShape", R"({"a":{"dtype":"F32","data_offsets":[0,32]}})",
                "tensor a: shape is missing"},
        BadText{"UnknownField", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":[0,32],"x":1}})",
                "tensor a: has more than dtype, shape and data_offsets"},
        BadText{"DtypeNumber", R"({"a":{"dtype":1,"shape":[8],"data_offsets":[0,32]}})",
                "tensor a: dtype must be a string"},
        BadText{"ShapeNumber", R"({"a":{"dtype":"F32","shape":8,"data_offsets":[0,32]}})",
                "tensor a: shape must be a list"},
        BadText{"OffsetsObject", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":{}}})",
                "tensor a: data_offsets must be a list"},
        BadText{"UnknownDtype", R"({"a":{"dtype":"Q4","shape":[8],"data_offsets":[0,32]}})",
                "unknown dtype Q4"},
        BadText{"NegativeDimension", R"({"a":{"dtype":"F32","shape":[-8],"data_offsets":[0,32]}})",
                "impossible dimension -8"},
        BadText{"FractionalDimension",
                R"({"a":{"dtype":"F32","shape":[8.5],"data_offsets":[0,32]}})",
                "impossible dimension 8.5"},
        BadText{"HugeProduct",
                R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,32]}})",
                "more than any file has"},
        BadText{"HugeDimension",
                R"({"a":{"dtype":"F32","shape":[18446744073709551616],"data_offsets":[0,32]}})",
                "parsing a number"},
        BadText{"ManyDimensions",
                R"({"a":{"dtype":"F32","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,8],
                "data_offsets":[0,32]}})",
                "more than 16 dimensions"},
        BadText{"WrongSize", R"({"a":{"dtype":"F32","shape":[7],"data_offsets":[0,32]}})",
                "32 bytes, but F32 [7] needs 28"},
        BadText{"HalfBytes", R"({"a":{"dtype":"F4","shape":[3],"data_offsets":[0,1]}})",
                "tensor a: 1 bytes"},
        BadText{"PastTheEnd", R"({"a":{"dtype":"F32","shape":[16],"data_offsets":[0,64]}})",
                "ends 32 bytes past the end"},
        BadText{"BackwardOffsets", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":[32,0]}})",
                "bad data_offsets"},
        BadText{"OneOffset", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":[0]}})",
                "bad data_offsets"},
        BadText{"NegativeOffset", R"({"a":{"dtype":"F32","shape":[8],"data_offsets":[-1,31]}})",
                "bad data_offsets"},
        BadText{"Overlap", R"({"a":{"dtype":"F32","shape":[5],"data_offsets":[0,20]},
                "b":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
                "tensor b: overlaps tensor a"},
        BadText{"Hole", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,12]},
                "b":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
                "tensor b: a hole of 4 bytes"},
        BadText{"HoleAtTheEnd", R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]}})",
                "16 bytes after the last tensor"},
        BadText{"Duplicate", R"({"a":{"dtype":"F32","shape":[4],"data_offsets":[0,16]},
                "a":{"dtype":"F32","shape":[4],"data_offsets":[16,32]}})",
                "tensor a: listed twice"},
        BadText{"Metadata", R"({"__metadata__":{"n":1},
                "a":{"dtype":"F32","shape":[8],"data_offsets":[0,32]}})",
                "__metadata__"},
        BadText{"DeepNesting", R"({"a":[[[[[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]]]]]})",
                "not valid JSON"}),
    name_of);

// Whatever a header's bytes: no crash, and what is accepted tiles the file.
TEST(SafetensorsHeader, MutationsNeverCrashOrLie) {
  Prng prng(17);
  int accepted = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string json = kGood;
    for (uint64_t edits = 1 + prng.below(3); edits > 0; --edits) {
      const size_t at = prng.below(json.size());
      switch (prng.below(3)) {
        case 0:
          json[at] = "0123456789[]{},:\"\\-eF\0\xff"[prng.below(23)];
          break;
        case 1:
          json.erase(at, 1 + prng.below(8));
          break;
        default:
          json.insert(at, json.substr(prng.below(json.size()), prng.below(12)));
      }
      if (json.empty()) json = "{";
    }
    const auto tensors = parse(json);
    if (!tensors) continue;
    ++accepted;
    uint64_t end = kDataBegin;
    for (const TensorInfo& tensor : *tensors) {
      ASSERT_EQ(tensor.offset, end) << json;
      end += tensor.bytes;
    }
    ASSERT_EQ(end, kDataBegin + kDataBytes) << json;
  }
  EXPECT_GT(accepted, 100);
}

TEST(SafetensorsHeader, FileWithAHeaderLongerThanItself) {
  TempFolder folder;
  const std::string path = folder / "model.safetensors";
  const auto error_of = [&](std::string_view text) {
    write_text(path, text);
    const auto tensors = read_safetensors_header(*InputFile::open(path).value());
    EXPECT_FALSE(tensors.has_value());
    EXPECT_EQ(tensors.error().code, Code::kBadData);
    EXPECT_EQ(tensors.error().where, path);
    return tensors.error().what;
  };
  EXPECT_EQ(error_of("short"), "only 5 bytes long");
  EXPECT_EQ(error_of(std::string_view("\x09\0\0\0\0\0\0\0{}", 10)),
            "header of 9 bytes, but the file has 10");
  EXPECT_EQ(error_of(std::string_view("\xff\xff\xff\xff\xff\xff\xff\xff{}", 10)),
            "not a safetensors file: header of 18446744073709551615 bytes");
}

TEST(SafetensorsIndex, ListsShardsByTensor) {
  const auto entries = parse_safetensors_index(
      R"({"metadata":{"total_size":1},"weight_map":{"b":"1.safetensors","a":"2.safetensors"}})",
      "index");
  ASSERT_TRUE(entries.has_value()) << to_line(entries.error());
  ASSERT_EQ(entries->size(), 2u);
  EXPECT_EQ(entries->at(0).tensor, "a");
  EXPECT_EQ(entries->at(0).file, "2.safetensors");
}

class BadIndexTest : public testing::TestWithParam<BadText> {};

TEST_P(BadIndexTest, IsRefusedByName) {
  const auto entries = parse_safetensors_index(GetParam().text, "index");
  ASSERT_FALSE(entries.has_value());
  EXPECT_EQ(entries.error().code, Code::kBadData);
  EXPECT_EQ(entries.error().where, "index");
  EXPECT_NE(entries.error().what.find(GetParam().expected), std::string::npos)
      << to_line(entries.error());
}

TEST(SafetensorsIndex, EndsWithTheText) {
  const std::string good = R"({"weight_map":{"a":"x"}})";
  EXPECT_TRUE(parse_safetensors_index(good + "\n", "index").has_value());
  const auto entries = parse_safetensors_index(good + '\0', "index");
  ASSERT_FALSE(entries.has_value());
  EXPECT_NE(entries.error().what.find("not valid JSON"), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(
    All, BadIndexTest,
    testing::Values(BadText{"NotJson", "{", "not valid JSON"},
                    BadText{"Empty", "", "not valid JSON"},
                    BadText{"Array", "[]", "must be a JSON object"},
                    BadText{"MapArray", R"({"weight_map":[]})", "weight_map must be an object"},
                    BadText{"MapNull", R"({"weight_map":null})", "weight_map must be an object"},
                    BadText{"NoMap", "{}", "no weight_map"},
                    BadText{"EmptyMap", R"({"weight_map":{}})", "weight_map is empty"},
                    BadText{"Climbing", R"({"weight_map":{"a":"../x"}})",
                            "tensor a: its file \"../x\" is no plain name"},
                    BadText{"Absolute", R"({"weight_map":{"a":"/etc/passwd"}})", "no plain name"},
                    BadText{"Parent", R"({"weight_map":{"a":".."}})", "no plain name"},
                    BadText{"EmptyName", R"({"weight_map":{"a":""}})", "no plain name"},
                    BadText{"Nul", R"({"weight_map":{"a":"x\u0000"}})", "no plain name"},
                    BadText{"Number", R"({"weight_map":{"a":1}})",
                            "tensor a: its file 1 must be a string"},
                    BadText{"Twice", R"({"weight_map":{"a":"x","a":"y"}})", "listed twice"}),
    name_of);

}  // namespace
}  // namespace switchyard
