#include "experts/key_index.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

TEST(KeyIndex, FindsEachKeyAndNoOther) {
  const std::vector<ExpertKey> keys = {{1, 5}, {1, 0}, {4, 2}, {65535, 3}};
  const KeyIndex index(keys);
  EXPECT_EQ(index.size(), 4u);
  for (uint32_t i = 0; i < keys.size(); ++i) EXPECT_EQ(index.find(keys[i]), i);
  for (const ExpertKey key : {ExpertKey{1, 1}, {1, 6}, {0, 0}, {4, 65535}, {65535, 4}}) {
    EXPECT_EQ(index.find(key), KeyIndex::kNone);
  }
  EXPECT_EQ(KeyIndex({}).find({0, 0}), KeyIndex::kNone);
}

TEST(KeyIndexDeathTest, TwiceTheSameKey) { EXPECT_DEATH(KeyIndex({{1, 5}, {1, 5}}), "twice"); }

}  // namespace
}  // namespace switchyard
