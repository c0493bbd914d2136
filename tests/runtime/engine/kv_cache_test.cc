#include "runtime/engine/kv_cache.h"

#include <gtest/gtest.h>

#include <set>

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
  KvCache cache = KvCache::create(spec, 40, 2).value();
  std::set<float*> places;
  for (int i = 0; i < 2; ++i) {
    const SequenceId sequence = cache.open().value();
    cache.reserve(sequence, 40);
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
  KvCache cache = KvCache::create(tiny_spec(), 64, 2).value();
  const SequenceId first = cache.open().value(), second = cache.open().value();
  for (int i = 0; i < 4; ++i) {  // their pages alternate
    for (const SequenceId sequence : {first, second}) {
      cache.reserve(sequence, 16);
      cache.advance(sequence, 16);
    }
  }
  for (uint32_t position = 0; position < 64; ++position) {
    const KvView view = cache.view(second, 1, 1);
    const float* page = view.pool + view.page_ids[position / kPagePositions] * view.page_stride;
    const size_t at = position % kPagePositions * view.position_stride;
    EXPECT_EQ(page + view.key_offset + at, cache.key(second, 1, 1, position));
    EXPECT_EQ(page + view.value_offset + at, cache.value(second, 1, 1, position));
  }
}

TEST(KvCache, TakesPagesBackAndRefusesOneSequenceTooMany) {
  KvCache cache = KvCache::create(tiny_spec(), 32, 2).value();
  for (int round = 0; round < 5; ++round) {
    const SequenceId a = cache.open().value(), b = cache.open().value();
    EXPECT_EQ(cache.open().error().code, Code::kNoMemory);
    cache.reserve(a, 32);
    cache.advance(a, 32);
    cache.reserve(b, 17);
    cache.advance(b, 17);
    EXPECT_EQ(cache.length(a), 32u);
    cache.close(a);
    EXPECT_FALSE(cache.is_open(a));
    cache.close(b);
  }
}

}  // namespace
}  // namespace switchyard
