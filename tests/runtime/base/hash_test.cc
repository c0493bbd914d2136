#include "runtime/base/hash.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "runtime/base/byte_fields.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

std::string random_bytes(size_t count) {
  Prng prng(count);
  std::string bytes(count, '\0');
  for (char& byte : bytes) byte = static_cast<char>(prng.next());
  return bytes;
}

std::span<const std::byte> part(const std::string& bytes, size_t begin, size_t end) {
  return std::as_bytes(std::span(bytes)).subspan(begin, end - begin);
}

// Lengths around the hash's own: short inputs end at 240, its buffer at 256, a block at 1024.
TEST(Hasher, GoesOnFromWhatWasSaved) {
  for (const size_t all : {0, 1, 63, 64, 65, 240, 241, 256, 257, 1023, 1024, 1025, 5000, 70001}) {
    const std::string bytes = random_bytes(all);
    for (const size_t first : {size_t{0}, all / 3, all / 2, all - all / 5, all}) {
      Hasher before;
      before.update(part(bytes, 0, first / 2));
      before.update(part(bytes, first / 2, first));
      const std::string saved = before.save().value();
      Hasher after = Hasher::of_saved(saved).value();
      EXPECT_EQ(after.save().value(), saved);
      after.update(part(bytes, first, all));
      EXPECT_EQ(after.digest(), hash_text(bytes)) << first << " of " << all;
    }
  }
}

TEST(Hasher, RefusesWhatNoHasherSaved) {
  Hasher hasher;
  hasher.update(part(random_bytes(1000), 0, 1000));
  const std::string saved = hasher.save().value();
  for (size_t size = 0; size < saved.size(); ++size) {
    EXPECT_EQ(Hasher::of_saved(saved.substr(0, size)).error().code, Code::kBadData) << size;
  }
  EXPECT_EQ(Hasher::of_saved(saved + "x").error().code, Code::kBadData);
  const auto spoilt = [&](size_t from_end) {
    std::string bytes = saved;
    bytes[bytes.size() - from_end] = '\x7f';
    return Hasher::of_saved(bytes).error().code;
  };
  EXPECT_EQ(spoilt(17), Code::kBadData);  // bytes waiting: more than the buffer holds
  EXPECT_EQ(spoilt(9), Code::kBadData);   // stripes of a block: more than there are
}

TEST(Hasher, RefusesAnotherVersionByName) {
  std::string saved = Hasher().save().value();
  std::string version;
  put(version, uint32_t{901});
  saved.replace(0, version.size(), version);
  const auto refused = Hasher::of_saved(saved);
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Code::kUsage);
  EXPECT_NE(refused.error().what.find("xxHash 0.9.1"), std::string::npos) << refused.error().what;
}

}  // namespace
}  // namespace switchyard
