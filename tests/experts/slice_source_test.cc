// Slices of experts, from folders, packs and staged copies.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>

#include "experts/expert_cache.h"
#include "experts/rank_source.h"
#include "experts/staged_source.h"
#include "runtime/base/align.h"
#include "runtime/base/hash.h"
#include "storage/input_file.h"
#include "tests/experts/test_model.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

constexpr uint32_t kRanks = 5;  // of three experts: two of them are cut in two

// `spoil` changes what was read.
Result<std::vector<std::byte>> load(const ExpertSource& source, ExpertKey key,
                                    const std::function<void(std::span<std::byte>)>& spoil = {}) {
  std::vector<std::byte> slot(source.slot_bytes()), staging(source.staging_bytes());
  std::vector<StagedPiece> staged;
  Hasher hasher;
  uint64_t at = 0;
  for (const ExpertPiece& piece : source.pieces(key)) {
    const auto bytes = std::span(source.direct() ? slot : staging).subspan(at, piece.bytes);
    TRY_STATUS(piece.file->read(piece.offset, bytes));
    if (spoil) spoil(bytes);
    hasher.update(bytes);
    staged.push_back({bytes.data(), bytes.size(), 0});
    at += piece.bytes;
  }
  for (StagedPiece& piece : staged) piece.hash = hasher.digest();
  TRY_STATUS(source.finish(key, staged, slot));
  slot.resize(source.expert_bytes());
  return slot;
}

// The slice's blocks of the whole expert's matrices, laid side by side.
std::vector<std::byte> cut(const std::vector<std::byte>& whole, const ExpertLayout& of_whole,
                           const ExpertLayout& layout) {
  std::vector<std::byte> out;
  const auto add = [&](const MatrixView& matrix, RowRange rows) {
    const MatrixView blocks = blocks_of(matrix, rows.begin, rows.end);
    out.insert(out.end(), blocks.data,
               blocks.data + matrix_bytes(matrix.dtype, rows.rows(), matrix.cols));
  };
  const ExpertView view = of_whole.view(whole.data());
  add(view.gate, layout.inner_rows());
  add(view.up, layout.inner_rows());
  add(view.down, layout.outer_rows());
  return out;
}

class SliceSource : public testing::TestWithParam<std::string> {
 protected:
  std::unique_ptr<ExpertSource> all(TestModel& model) const {
    return GetParam() == "pack" ? model.pack_source() : model.folder_source();
  }
};

TEST_P(SliceSource, RanksHoldTheirRowsOfTheWhole) {
  for (const DType dtype : {DType::kBF16, DType::kF32}) {
    for (const auto& [hidden, intermediate] :
         {std::pair{32U, 48U}, {40U, 33U}, {65U, 130U}, {128U, 256U}}) {
      TestModel model({dtype, hidden, intermediate, 2, 3});
      const auto whole = all(model);
      const Placement placement =
          place_by_order(plain_order(2, 3), kRanks, whole->layout().slices_max());
      uint64_t bytes = 0;
      for (uint32_t rank = 0; rank < kRanks; ++rank) {
        const auto part = make_rank_source(*whole, placement, {0, 1}, rank);
        ASSERT_TRUE(part->verify());
        EXPECT_EQ(part->keys().size(), 2u);
        for (const ExpertKey key : part->keys()) {
          const RankSet holders = placement.holders[key.layer][key.expert];
          EXPECT_TRUE(holders >> placement.leader_of(rank) & 1);
          const auto slot = load(*part, key);
          ASSERT_TRUE(slot) << to_line(slot.error());
          EXPECT_EQ(*slot, cut(model.kernel_ready(key), model.layout(), part->layout()));
          bytes += slot->size();
        }
      }
      EXPECT_EQ(bytes, 6 * model.layout().bytes()) << "each row once";
    }
  }
}

TEST_P(SliceSource, AreStagedAsTheyAre) {
  TestModel model({DType::kBF16, 64, 96, 2, 3});
  const auto whole = all(model);
  const auto part =
      make_rank_source(*whole, place_by_order(plain_order(2, 3), kRanks, 4), {0, 1}, kRanks - 1);
  ASSERT_TRUE(part->verify());
  const TempFolder folder;
  const auto staged = stage_experts(*part, folder.path(), {}).value();
  EXPECT_EQ(staged->slot_bytes(), part->slot_bytes());
  for (const ExpertKey key : part->keys()) {
    EXPECT_EQ(load(*staged, key).value(), load(*part, key).value());
  }
}

INSTANTIATE_TEST_SUITE_P(All, SliceSource, testing::Values("folder", "pack"),
                         [](const auto& info) { return info.param; });

// Where the slices of matrices fill pages there is nothing to be staged.
TEST(SliceOfAPack, WholePagesAreReadStraightIntoTheirSlots) {
  for (const auto& [hidden, direct] : {std::pair{128U, true}, {136U, false}}) {
    TestModel model({DType::kBF16, hidden, 256, 2, 3});
    const auto whole = model.pack_source();
    const auto part =
        make_rank_source(*whole, place_by_order(plain_order(2, 3), kRanks, 8), {0, 1}, kRanks - 1);
    EXPECT_EQ(part->direct(), direct);
    ASSERT_TRUE(part->verify());
    ExpertCacheOptions options;
    options.slots = 2;
    options.staging = direct ? 0 : 1;
    options.read_chunk_bytes = 2 * kPageBytes;
    const auto cache = ExpertCache::create(*part, options).value();
    for (const ExpertKey key : part->keys()) {
      cache->request(key.layer, {&key.expert, 1});
      {
        const auto leases = cache->next().value();
        ASSERT_EQ(leases.size(), 1u);
        const auto expected = cut(model.kernel_ready(key), model.layout(), part->layout());
        EXPECT_TRUE(std::ranges::equal(
            expected, std::span(leases.front().view().gate.data, expected.size())));
      }
      EXPECT_TRUE(cache->next().value().empty());
    }
    EXPECT_EQ(cache->counters().bytes_read, 2 * part->expert_bytes());
  }
}

TEST(SliceOfAPack, WhatIsReadIsComparedWithWhatWasVerified) {
  TestModel model({DType::kBF16, 64, 96, 1, 3});
  const auto whole = model.pack_source();
  const auto part =
      make_rank_source(*whole, place_by_order(plain_order(1, 3), kRanks, 4), {0}, kRanks - 1);
  ASSERT_TRUE(part->verify());
  for (const size_t at : {size_t{0}, size_t{17}}) {
    const auto slot = load(*part, {0, 2}, [&](auto bytes) { bytes[at] ^= std::byte{4}; });
    ASSERT_FALSE(slot);
    EXPECT_EQ(slot.error().code, Code::kBadData);
    EXPECT_THAT(to_line(slot.error()), HasSubstr("layer 0, expert 2"));
  }
}

// The checksum is the whole expert's: what lies on other ranks counts.
TEST(SliceOfAPack, AnExpertThatIsDamagedAnywhereIsNamed) {
  for (const bool at_its_end : {false, true}) {
    TestModel model({DType::kBF16, 64, 96, 1, 3});
    ASSERT_TRUE(model.write_pack());
    {
      const auto piece = model.pack_source()->pieces({0, 2}).front();
      const uint64_t offset = piece.offset + (at_its_end ? piece.bytes - 1 : 0);
      std::fstream file(model.pack_path(), std::ios::binary | std::ios::in | std::ios::out);
      file.seekg(static_cast<std::streamoff>(offset));
      const auto byte = static_cast<char>(file.get() ^ 1);
      file.seekp(static_cast<std::streamoff>(offset));
      file.put(byte);
    }
    const auto whole = model.pack_source();
    const Placement placement = place_by_order(plain_order(1, 3), kRanks, 4);
    for (uint32_t rank = 0; rank < kRanks; ++rank) {
      const Status verified = make_rank_source(*whole, placement, {0}, rank)->verify();
      const bool has_it = placement.leader_of(rank) == placement.leader_of(kRanks - 1);
      EXPECT_EQ(verified.has_value(), !has_it) << "rank " << rank;
      if (verified) continue;
      EXPECT_EQ(verified.error().code, Code::kBadData);
      EXPECT_THAT(to_line(verified.error()), HasSubstr("layer 0, expert 2"));
    }
  }
}

}  // namespace
}  // namespace switchyard
