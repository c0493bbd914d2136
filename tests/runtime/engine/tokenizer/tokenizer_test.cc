#include "runtime/engine/tokenizer/tokenizer.h"

#include <filesystem>

#include "runtime/base/clock.h"
#include "runtime/base/file.h"
#include "runtime/base/prng.h"
#include "tests/runtime/engine/tokenizer/synthetic.h"
#include "tests/runtime/engine/tokenizer/tiny.h"

namespace switchyard {
namespace {

using Ids = std::vector<TokenId>;

TEST(Tokenizer, LooksUp) {
  Tokenizer first = *parse_tokenizer(tiny_json());
  const Tokenizer tokenizer = std::move(first);
  EXPECT_EQ(tokenizer.vocab_size(), 8U);
  EXPECT_EQ(tokenizer.token_id("abc"), 6);
  EXPECT_EQ(tokenizer.token_id("<s>"), 7);
  EXPECT_EQ(tokenizer.token_id("<t>"), std::nullopt);
  EXPECT_TRUE(tokenizer.is_special(7));
  EXPECT_FALSE(tokenizer.is_special(6));
  EXPECT_FALSE(tokenizer.is_special(-1));
  EXPECT_FALSE(tokenizer.is_special(1000));
}

TEST(Tokenizer, LowestRankThenLeftmostMergesFirst) {
  Json json = tiny_json();
  json["model"]["vocab"] = {{"a", 0}, {"aa", 1}, {"aaa", 2}, {"b", 3}, {"ab", 4}};
  json["model"]["merges"] = {"a a", "aa a", "a b"};
  json["model"]["unk_token"] = nullptr;
  json["added_tokens"] = Json::array();
  const Tokenizer tokenizer = *parse_tokenizer(json);
  EXPECT_EQ(*tokenizer.encode("aaaa"), (Ids{1, 1}));
  EXPECT_EQ(*tokenizer.encode("aaaab"), (Ids{1, 1, 3}));
  EXPECT_EQ(*tokenizer.encode("aaab"), (Ids{2, 3}));
  EXPECT_EQ(*tokenizer.encode("ab"), (Ids{4}));
  EXPECT_EQ(*tokenizer.encode("axb"), (Ids{4})) << "without unk_token x is left out";
}

TEST(Tokenizer, APairListedTwiceTakesItsLastRank) {
  Json json = tiny_json();
  json["model"]["vocab"]["bc"] = 8;
  json["model"]["merges"] = {"a b", "b c", "a b"};
  EXPECT_EQ(*parse_tokenizer(json)->encode("abc"), (Ids{0, 8}));
}

TEST(Tokenizer, UnknownCharactersFuseOnRequest) {
  Json json = tiny_json();
  EXPECT_EQ(*parse_tokenizer(json)->encode("axxb"), (Ids{0, 4, 4, 1}));
  json["model"]["fuse_unk"] = true;
  EXPECT_EQ(*parse_tokenizer(json)->encode("axxb"), (Ids{0, 4, 1}));
}

TEST(Tokenizer, AddedTokensTakeBlanksAndRespectWords) {
  Json json = tiny_json();
  json["added_tokens"] = Json::parse(R"([
    {"id": 7, "content": "<s>", "lstrip": true, "rstrip": true, "special": true},
    {"id": 8, "content": "cab", "single_word": true, "normalized": false},
    {"id": 9, "content": "<s><s>", "normalized": false}])");
  const Tokenizer tokenizer = *parse_tokenizer(json);
  EXPECT_EQ(*tokenizer.encode("a  <s> b"), (Ids{0, 7, 1}));
  EXPECT_EQ(*tokenizer.encode("<s><s><s>"), (Ids{9, 7})) << "the longest at the leftmost place";
  EXPECT_EQ(*tokenizer.encode("a cab a"), (Ids{0, 3, 8, 3, 0}));
  EXPECT_EQ(*tokenizer.encode("acab"), (Ids{0, 2, 5}));
}

TEST(Tokenizer, MergesBeforeVocabularyInTheFile) {
  const auto tokenizer = Tokenizer::parse(
      R"({"model": {"merges": [["a", "b"]], "vocab": {"a": 0, "b": 1, "ab": 2}}})", "t");
  ASSERT_TRUE(tokenizer) << to_line(tokenizer.error());
  EXPECT_EQ(*tokenizer->encode("ab"), (Ids{2}));
  EXPECT_EQ(*tokenizer->decode(Ids{2, 0, 1}), "ab a b") << "no decoder: blanks between tokens";
}

// Every piece of a stream is whole characters and all of them are what decode() gives, for any ids.
TEST(StreamDecoder, RandomIdsEqualDecode) {
  Prng prng(3);
  size_t tokenizers = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator(SWITCHYARD_TEST_DATA "/tokenizers")) {
    const std::string path = entry.path() / "tokenizer.json";
    const Tokenizer tokenizer = *Tokenizer::parse(*read_text_file(path, 1 << 24), path);
    ++tokenizers;
    for (int round = 0; round < 200; ++round) {
      Ids ids(prng.below(40));
      const uint64_t range = round % 2 == 0 ? tokenizer.vocab_size() : 300;  // many byte tokens
      for (TokenId& id : ids) id = static_cast<TokenId>(prng.below(range));
      const DecodeOptions options{.skip_special = round % 3 == 0};
      StreamDecoder stream(tokenizer, options);
      std::string all;
      for (const TokenId id : ids) {
        const std::string part = stream.push(id);
        ASSERT_TRUE(is_utf8(part)) << path;
        all += part;
      }
      all += stream.finish();
      ASSERT_TRUE(is_utf8(all));
      ASSERT_EQ(all, *tokenizer.decode(ids, options)) << path;
    }
  }
  EXPECT_GE(tokenizers, 12U);
}

TEST(StreamDecoder, IdsWithoutTokenLeaveNoText) {
  const Tokenizer tokenizer = *parse_tokenizer(tiny_json());
  StreamDecoder stream(tokenizer, {});
  EXPECT_EQ(stream.push(6), "abc");
  EXPECT_EQ(stream.push(5000), "");
  EXPECT_EQ(stream.push(-1), "");
  EXPECT_EQ(stream.push(0), "a");
  EXPECT_EQ(stream.finish(), "");
}

double encode_seconds(const Tokenizer& tokenizer, const std::string& text) {
  const double start = now_seconds();
  const auto ids = tokenizer.encode(text);
  EXPECT_TRUE(ids);
  return now_seconds() - start;
}

// Quadratic time would take minutes for any of these.
TEST(Tokenizer, LongTextsWithoutBordersTakeLinearTime) {
  constexpr size_t kBytes = 1 << 18;
  for (const char* name : {"mixtral", "llama3", "deepseek2", "neox", "nfkc-lower", "o200k"}) {
    const std::string path =
        std::string(SWITCHYARD_TEST_DATA "/tokenizers/") + name + "/tokenizer.json";
    const Tokenizer tokenizer = *Tokenizer::parse(*read_text_file(path, 1 << 24), path);
    for (const std::string unit :
         {"a", "the", " ", "\t\n", "A", "\u0301\u0323", "!", "4", "\u4e2d"}) {
      std::string text;
      while (text.size() < kBytes) text += unit;
      EXPECT_LT(encode_seconds(tokenizer, text + "x"), 20) << name << " " << unit;
    }
  }
}

TEST(Tokenizer, ALargeOneLoadsQuickly) {
  const std::string json = synthetic_tokenizer_json(128'000, 280'000);
  ASSERT_GT(json.size(), 7'000'000U);
  const double start = now_seconds();
  const auto tokenizer = Tokenizer::parse(json, "synthetic");
  const double seconds = now_seconds() - start;
  ASSERT_TRUE(tokenizer) << to_line(tokenizer.error());
  EXPECT_EQ(tokenizer->vocab_size(), 128'000U);
  EXPECT_LT(seconds, 10) << "0.1 s optimised on a free core; the rest is for sanitizers";
  const std::string text = "thequickbrownfox";
  EXPECT_EQ(*tokenizer->decode(*tokenizer->encode(text)), text);
}

}  // namespace
}  // namespace switchyard
