// Text that comes piece by piece gives the ids of the whole text.

#include <gtest/gtest.h>

#include <filesystem>

#include "runtime/base/file.h"
#include "runtime/base/prng.h"
#include "runtime/engine/tokenizer/tokenizer.h"

namespace switchyard {
namespace {

constexpr size_t kTextBytes = 200 << 10;

Tokenizer load(const std::string& name) {
  const auto json =
      read_text_file(SWITCHYARD_TEST_DATA "/tokenizers/" + name + "/tokenizer.json", 1 << 24);
  return *Tokenizer::parse(json.value(), name);
}

// Books, with what pre-tokenizers care about strewn in.
std::string odd_text(uint64_t seed, size_t bytes) {
  static const std::vector<std::string> kOdd = {
      "\n",     "\n\n",          "\r\n",       "   ", " \n ", "it's",   " 1234567",     "e\u0301",
      "\u00a0", "\u4e2d\u6587",  "!?",         "\t",  "$x ",  "\u2581", "\u1100\u1161", "  a",
      "<s>",    "<|endoftext|>", "\U0001f600", "n't"};
  std::string text;
  Prng prng(seed);
  for (const char* book : {"en-moby-dick-end.txt", "it-promessi-sposi-end.txt"}) {
    text += *read_text_file(std::string(SWITCHYARD_TEST_DATA "/corpus/") + book, 1 << 20);
  }
  const std::string books = text;
  while (text.size() < bytes) {
    const size_t at = prng.below(books.size() - 200);
    size_t begin = at;
    while ((books[begin] & 0xc0) == 0x80) ++begin;
    size_t end = begin + prng.below(180);
    while ((books[end] & 0xc0) == 0x80) ++end;
    text += books.substr(begin, end - begin) + kOdd[prng.below(kOdd.size())];
  }
  return text;
}

Result<std::vector<TokenId>> streamed(const Tokenizer& tokenizer, const std::string& text,
                                      bool add_special, size_t step) {
  StreamEncoder encoder(tokenizer, add_special);
  std::vector<TokenId> ids;
  for (size_t at = 0; at < text.size(); at += step) {
    TRY_STATUS(encoder.push(std::string_view(text).substr(at, step), ids));
  }
  TRY_STATUS(encoder.finish(ids));
  return ids;
}

class StreamEncoderTest : public testing::TestWithParam<std::string> {};

TEST_P(StreamEncoderTest, GivesTheIdsOfTheWhole) {
  const Tokenizer tokenizer = load(GetParam());
  for (const bool add_special : {true, false}) {
    const std::string text = odd_text(add_special ? 1 : 2, kTextBytes);
    const auto ids = streamed(tokenizer, text, add_special, 4099);
    ASSERT_TRUE(ids) << to_line(ids.error());
    EXPECT_TRUE(*ids == *tokenizer.encode(text, {.add_special = add_special}));
  }
}

// Every place that find_cut() gives, not only those of one size of pieces.
TEST_P(StreamEncoderTest, EveryCutIsSafe) {
  const Tokenizer tokenizer = load(GetParam());
  size_t cuts = 0;
  for (uint64_t seed = 10; seed < 15; ++seed) {
    const std::string text = odd_text(seed, 20000).substr(18000);
    std::string known = text.substr(text.find('\n') + 1);
    const auto whole = *tokenizer.encode(known, {.add_special = false});
    for (size_t bytes = known.size(); bytes > 100; bytes -= 97) {
      if (!is_utf8(std::string_view(known).substr(0, bytes))) continue;
      const size_t cut = *tokenizer.find_cut(std::string_view(known).substr(0, bytes));
      if (cut == 0) continue;
      ++cuts;
      auto ids = *tokenizer.encode(known.substr(0, cut), {.add_special = false});
      const auto tail =
          *tokenizer.encode(known.substr(cut), {.add_special = false, .continues = true});
      ids.insert(ids.end(), tail.begin(), tail.end());
      ASSERT_EQ(ids, whole) << known.substr(cut - 20, 40);
    }
  }
  EXPECT_GT(cuts, 30U);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, StreamEncoderTest,
                         testing::Values("deepseek2", "deepseek3", "gpt2", "llama3",
                                         "metaspace-always", "metaspace-first", "mixtral", "neox",
                                         "o200k", "prefix-space", "qwen2"),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

TEST(StreamEncoder, RefusesToHoldAWholeLongText) {
  const Tokenizer tokenizer = load("nfkc-lower");  // it strips: where a text ends shows
  EXPECT_TRUE(streamed(tokenizer, std::string(1000, 'x'), true, 100));
  const std::string text = odd_text(3, StreamEncoder::kHeldBytesMax + 1000);
  EXPECT_EQ(streamed(tokenizer, text, true, 65536).error().code, Code::kBadData);
}

TEST(StreamEncoder, RefusesWhatIsNotUtf8) {
  const Tokenizer tokenizer = load("gpt2");
  EXPECT_EQ(streamed(tokenizer, "caf\xe9", true, 2).error().code, Code::kBadData);
  EXPECT_EQ(streamed(tokenizer, std::string(1 << 17, ' ') + "\xff ", true, 999).error().code,
            Code::kBadData);
}

}  // namespace
}  // namespace switchyard
