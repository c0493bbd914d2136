// Every tokenizer.json under tests/data/tokenizers against what the reference library makes of the
// same texts.

#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <sstream>

#include "runtime/base/file.h"
#include "runtime/base/json.h"
#include "runtime/engine/tokenizer/tokenizer.h"

namespace switchyard {
namespace {

const std::string kFolder = SWITCHYARD_TEST_DATA "/tokenizers/";

std::vector<std::string> tokenizer_names() {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(kFolder)) {
    if (entry.is_directory()) names.push_back(entry.path().filename());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string streamed(const Tokenizer& tokenizer, const std::vector<TokenId>& ids,
                     DecodeOptions options) {
  StreamDecoder decoder(tokenizer, options);
  std::string all;
  for (const TokenId id : ids) {
    const std::string part = decoder.push(id);
    EXPECT_TRUE(is_utf8(part)) << "half a character after id " << id;
    all += part;
  }
  const std::string part = decoder.finish();
  EXPECT_TRUE(is_utf8(part));
  return all + part;
}

class CasesTest : public testing::TestWithParam<std::string> {};

TEST_P(CasesTest, EqualTheReference) {
  const std::string folder = kFolder + GetParam();
  const auto json = read_text_file(folder + "/tokenizer.json", 1 << 24);
  ASSERT_TRUE(json) << to_line(json.error());
  const auto tokenizer = Tokenizer::parse(*json, "tokenizer.json");
  ASSERT_TRUE(tokenizer) << to_line(tokenizer.error());
  const auto cases = read_text_file(folder + "/cases.jsonl", 1 << 24);
  ASSERT_TRUE(cases) << to_line(cases.error());
  std::istringstream lines(*cases);
  size_t count = 0;
  for (std::string line; std::getline(lines, line); ++count) {
    const Json one = *parse_json(line, "cases.jsonl");
    const auto text = one["text"].get<std::string>();
    const auto ids = one["ids"].get<std::vector<TokenId>>();
    SCOPED_TRACE(text);
    EXPECT_EQ(*tokenizer->encode(text), ids);
    EXPECT_EQ(*tokenizer->encode(text, {.add_special = false}),
              one["ids_plain"].get<std::vector<TokenId>>());
    for (const bool skip : {false, true}) {
      const DecodeOptions options{.skip_special = skip};
      const auto decoded = one[skip ? "decoded_skip" : "decoded"].get<std::string>();
      EXPECT_EQ(*tokenizer->decode(ids, options), decoded);
      EXPECT_EQ(streamed(*tokenizer, ids, options), decoded);
    }
  }
  EXPECT_GT(count, 100U);
}

INSTANTIATE_TEST_SUITE_P(Tokenizers, CasesTest, testing::ValuesIn(tokenizer_names()),
                         [](const auto& info) {
                           std::string name = info.param;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

}  // namespace
}  // namespace switchyard
