#include "launch/text_ids.h"

#include <gtest/gtest.h>

#include <sstream>

#include "runtime/base/file.h"

namespace switchyard {
namespace {

LoadedTokenizer load() {
  const auto json = read_text_file(SWITCHYARD_TEST_DATA "/tokenizers/gpt2/tokenizer.json", 1 << 24);
  return {*Tokenizer::parse(json.value(), "gpt2"), json->size()};
}

TEST(TextIds, AreThoseOfTheWholeTextWhileLittleIsHeld) {
  std::string text;
  while (text.size() < (1 << 20)) text += "It's the whale, 12345 fathoms   deep.\n\nAnd then ";
  const std::vector<TokenId> whole = *load().tokenizer.encode(text);
  std::istringstream in(text);
  std::ostringstream out, err;
  Console console{in, out, err, false, false};
  TextIds ids =
      TextIds::of_text({.prompt = {}, .file = "-"}, load(), true, 1 << 20, console).value();
  constexpr size_t kWindow = 1000;
  std::vector<TokenId> seen;
  bool more = true;
  while (more) {
    const size_t begin = seen.size();
    ASSERT_TRUE(ids.need(begin + kWindow));
    if (!ids.complete()) {
      EXPECT_LT(ids.bytes(kWindow), 3U << 20);
    }
    const size_t end = std::min(begin + kWindow, ids.known());
    for (const TokenId id : ids.range(begin, end)) seen.push_back(id);
    ids.forget_before(end);
    more = end > begin;
  }
  EXPECT_TRUE(ids.complete());
  EXPECT_TRUE(seen == whole);
}

TEST(TextIds, OfAListAreKnown) {
  TextIds ids = TextIds::of_list({3, 1, 2}, 4).value();
  EXPECT_TRUE(ids.complete());
  EXPECT_EQ(ids.known(), 3U);
  EXPECT_EQ(ids.range(1, 2).front(), 1);
  EXPECT_EQ(TextIds::of_list({4}, 4).error().code, Code::kUsage);
}

}  // namespace
}  // namespace switchyard
