#include "runtime/engine/kv_cache.h"

#include <gtest/gtest.h>

#include <cstddef>
#include <memory>
#include <set>
#include <span>
#include <vector>

namespace switchyard {
namespace {

ModelSpec tiny_spec() {
  ModelSpec spec;
  spec.attention.heads = 4;
  spec.attention.kv_heads = 2;
  spec.attention.head_dim = 6;
  spec.layers.resize(3);
  return spec;
}

TEST(KvCache, GivesEveryPositionAPlaceOfItsOwn) {
  const ModelSpec spec = tiny_spec();
  KvCache cache = KvCache::create(spec, 40, 2, 2, 0, {}).value();
  std::set<float*> places;
  for (int i = 0; i < 2; ++i) {
    const SequenceId sequence{static_cast<uint32_t>(i)};
    cache.open(sequence);
    ASSERT_TRUE(cache.reserve(sequence, 40));
    for (uint32_t layer = 0; layer < 3; ++layer) {
      for (uint32_t head = 0; head < 2; ++head) {
        for (uint32_t position = 0; position < 40; ++position) {
          for (uint32_t d = 0; d < 6; ++d) {
            float* key = cache.key(sequence, layer, head, position) + d;
            float* value = cache.value(sequence, layer, head, position) + d;
            *key = *value = 1;
            EXPECT_TRUE(places.insert(key).second);
            EXPECT_TRUE(places.insert(value).second);
          }
        }
      }
    }
  }
  EXPECT_LE(places.size() * sizeof(float), KvCache::bytes(spec, 40, 2));
}

TEST(KvCache, ViewsAreWhereKernelsLook) {
  KvCache cache = KvCache::create(tiny_spec(), 64, 2, 2, 0, {}).value();
  const SequenceId first{0}, second{1};
  cache.open(first);
  cache.open(second);
  for (int i = 0; i < 4; ++i) {  // their pages alternate
    for (const SequenceId sequence : {first, second}) {
      ASSERT_TRUE(cache.reserve(sequence, 16));
      cache.advance(sequence, 16);
    }
  }
  for (uint32_t position = 0; position < 64; ++position) {
    const KvView view = cache.view(second, 1, 1);
    const float* page = view.pages[position / kPagePositions];
    const size_t at = position % kPagePositions * view.position_stride;
    EXPECT_EQ(page + view.key_offset + at, cache.key(second, 1, 1, position));
    EXPECT_EQ(page + view.value_offset + at, cache.value(second, 1, 1, position));
  }
}

TEST(KvCache, TakesPagesBack) {
  KvCache cache = KvCache::create(tiny_spec(), 32, 2, 2, 0, {}).value();
  for (int round = 0; round < 5; ++round) {
    const SequenceId a{0}, b{1};
    cache.open(a);
    cache.open(b);
    ASSERT_TRUE(cache.reserve(a, 32));
    cache.advance(a, 32);
    ASSERT_TRUE(cache.reserve(b, 17));
    cache.advance(b, 17);
    EXPECT_EQ(cache.length(a), 32u);
    cache.close(a);
    EXPECT_FALSE(cache.is_open(a));
    cache.close(b);
  }
}

// Lends pieces that hold two and a half pages of tiny_spec().
class Lender {
 public:
  static constexpr uint64_t kPieceBytes = uint64_t{5} * kPagePositions * 12 * sizeof(float);

  KvLender get() {
    return {.lend = [this]() -> Result<std::span<std::byte>> {
              if (refuses) return fail(Code::kIo, "refused");
              if (spare_.empty()) {
                memory_.push_back(std::make_unique<std::byte[]>(kPieceBytes));
                spare_.emplace_back(memory_.back().get(), kPieceBytes);
              }
              const auto piece = spare_.back();
              spare_.pop_back();
              return piece;
            },
            .take_back = [this](auto piece) { spare_.push_back(piece); }};
  }
  size_t lent() const { return memory_.size() - spare_.size(); }

  bool refuses = false;

 private:
  std::vector<std::unique_ptr<std::byte[]>> memory_;
  std::vector<std::span<std::byte>> spare_;
};

TEST(KvCache, NeedsWholePiecesAndTheRestOfItsOwn) {
  const ModelSpec spec = tiny_spec();
  const uint64_t page = Lender::kPieceBytes * 2 / 5;
  // Three layers of two sequences of three pages: 18 pages, 9 pieces.
  const KvCache::Needs even = KvCache::needs(spec, 40, 2, Lender::kPieceBytes);
  EXPECT_EQ(even.pieces, 9u);
  EXPECT_EQ(even.own_bytes, 0u);
  const KvCache::Needs odd = KvCache::needs(spec, 40, 1, Lender::kPieceBytes);
  EXPECT_EQ(odd.pieces, 4u);
  EXPECT_EQ(odd.own_bytes, page);
  EXPECT_EQ(odd.pieces_for(page), 0u);
  EXPECT_EQ(odd.pieces_for(2 * page), 1u);
  EXPECT_EQ(odd.pieces_for(100 * page), 4u);
  const KvCache::Needs small = KvCache::needs(spec, 40, 2, page - 1);
  EXPECT_EQ(small.pieces, 0u);
  EXPECT_EQ(small.own_bytes, 18 * page);
}

TEST(KvCache, BorrowsAsSequencesGrowAndGivesBackWhenTheyEnd) {
  Lender lender;
  KvCache cache = KvCache::create(tiny_spec(), 80, 2, 2, Lender::kPieceBytes, lender.get()).value();
  std::set<float*> places;
  const SequenceId a{0}, b{1};
  cache.open(a);
  cache.open(b);
  for (uint32_t position = 0; position < 80; position += 16) {
    for (const SequenceId sequence : {a, b}) {
      ASSERT_TRUE(cache.reserve(sequence, 16));
      cache.advance(sequence, 16);
      for (uint32_t layer = 0; layer < 3; ++layer) {
        EXPECT_TRUE(places.insert(cache.key(sequence, layer, 0, position)).second);
      }
    }
    EXPECT_EQ(lender.lent(), position / 16 * 3 + 3) << "two pages a piece";
  }
  lender.refuses = true;
  cache.close(a);
  cache.close(b);
  EXPECT_EQ(lender.lent(), 0u);
  const SequenceId c{0};
  cache.open(c);
  EXPECT_EQ(cache.reserve(c, 16).error().code, Code::kIo);
  lender.refuses = false;
  ASSERT_TRUE(cache.reserve(c, 80));
  EXPECT_EQ(lender.lent(), 8u) << "15 pages";
}

}  // namespace
}  // namespace switchyard
