#include "storage/pack_format.h"

#include <gtest/gtest.h>

#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

const std::vector<PackSection> kSections = {
    {"config.json", kPageBytes, 17, 1, {}},
    {"empty", 2 * kPageBytes, 0, 2, {{"key", ""}}},
    {"expert/3/17", 2 * kPageBytes, 3 * kPageBytes + 1, 3, {{"dtype", "BF16"}, {"rows", "5"}}}};
constexpr uint64_t kIndexOffset = 6 * kPageBytes;

TEST(PackFormat, IndexRoundTrip) {
  const auto sections = parse_pack_index(encode_pack_index(kSections), kIndexOffset, "pack");
  ASSERT_TRUE(sections.has_value()) << to_line(sections.error());
  ASSERT_EQ(sections->size(), kSections.size());
  for (size_t i = 0; i < kSections.size(); ++i) {
    EXPECT_EQ(sections->at(i).name, kSections[i].name);
    EXPECT_EQ(sections->at(i).offset, kSections[i].offset);
    EXPECT_EQ(sections->at(i).bytes, kSections[i].bytes);
    EXPECT_EQ(sections->at(i).hash, kSections[i].hash);
    EXPECT_EQ(sections->at(i).attributes, kSections[i].attributes);
  }
}

TEST(PackFormat, SectionsMustTileTheFile) {
  const auto error_of = [](std::vector<PackSection> sections, uint64_t index_offset) {
    const auto parsed = parse_pack_index(encode_pack_index(sections), index_offset, "pack");
    EXPECT_FALSE(parsed.has_value());
    EXPECT_EQ(parsed.error().code, Code::kBadData);
    EXPECT_EQ(parsed.error().where, "pack");
    return parsed.error().what;
  };
  const auto changed = [](size_t index, auto change) {
    std::vector<PackSection> sections = kSections;
    change(sections[index]);
    return sections;
  };
  EXPECT_NE(error_of(kSections, kIndexOffset + kPageBytes).find("does not match"), -1ul);
  EXPECT_NE(error_of(kSections, kIndexOffset - kPageBytes).find("expert/3/17"), -1ul);
  EXPECT_NE(error_of(kSections, kPageBytes).find("config.json"), -1ul);
  EXPECT_NE(error_of(changed(1, [](auto& s) { s.offset += kPageBytes; }), kIndexOffset)
                .find("section empty: impossible place"),
            -1ul);
  EXPECT_NE(error_of(changed(2, [](auto& s) { s.offset -= kPageBytes; }), kIndexOffset)
                .find("section expert/3/17: impossible place"),
            -1ul);
  EXPECT_NE(error_of(changed(2, [](auto& s) { s.bytes = ~uint64_t{0}; }), kIndexOffset)
                .find("section expert/3/17: impossible place"),
            -1ul);
  EXPECT_NE(error_of(changed(1, [](auto& s) { s.name = "config.json"; }), kIndexOffset)
                .find("section config.json listed twice"),
            -1ul);
}

TEST(PackFormat, EveryCutOfTheIndexIsRefused) {
  const std::string index = encode_pack_index(kSections);
  for (size_t size = 0; size < index.size(); ++size) {
    EXPECT_FALSE(parse_pack_index(std::string_view(index).substr(0, size), kIndexOffset, "pack"))
        << size;
  }
  EXPECT_FALSE(parse_pack_index(index + '\0', kIndexOffset, "pack"));
}

TEST(PackFormat, MutatedIndexesNeverCrash) {
  const std::string index = encode_pack_index(kSections);
  Prng prng(23);
  for (int round = 0; round < 20'000; ++round) {
    std::string mutated = index;
    for (uint64_t edits = 1 + prng.below(4); edits > 0; --edits) {
      mutated[prng.below(mutated.size())] = static_cast<char>(prng.next());
    }
    const auto sections = parse_pack_index(mutated, kIndexOffset, "pack");
    if (!sections) continue;
    for (const PackSection& section : *sections) {
      ASSERT_LE(section.offset, kIndexOffset);
      ASSERT_LE(section.bytes, kIndexOffset - section.offset);
    }
  }
}

TEST(PackFormat, HeaderRoundTripAndEveryFlippedByte) {
  const PackHeader header{kIndexOffset, 100, 42, kIndexOffset + 100};
  const std::string page = encode_pack_header(header);
  ASSERT_EQ(page.size(), kPageBytes);
  const auto parsed = parse_pack_header(page, kIndexOffset + 100, "pack");
  ASSERT_TRUE(parsed.has_value()) << to_line(parsed.error());
  EXPECT_EQ(parsed->index_offset, header.index_offset);
  EXPECT_EQ(parsed->index_bytes, header.index_bytes);
  EXPECT_EQ(parsed->index_hash, header.index_hash);
  EXPECT_FALSE(parse_pack_header(page, kIndexOffset + 99, "pack"));
  for (size_t at = 0; at < page.size(); ++at) {
    std::string flipped = page;
    flipped[at] ^= 0x10;
    EXPECT_FALSE(parse_pack_header(flipped, kIndexOffset + 100, "pack")) << at;
  }
}

TEST(PackFormat, HeaderWithAnImpossiblePlace) {
  for (const PackHeader& header :
       {PackHeader{0, 100, 0, 100}, PackHeader{kPageBytes + 1, 99, 0, kPageBytes + 100},
        PackHeader{~uint64_t{4095}, 4195, 0, 99}, PackHeader{kPageBytes, 99, 0, kPageBytes + 100},
        PackHeader{kPageBytes, uint64_t{1} << 30, 0, kPageBytes + (uint64_t{1} << 30)}}) {
    const auto parsed = parse_pack_header(encode_pack_header(header), header.file_bytes, "pack");
    ASSERT_FALSE(parsed.has_value()) << header.index_offset;
    EXPECT_EQ(parsed.error().code, Code::kBadData);
  }
}

}  // namespace
}  // namespace switchyard
