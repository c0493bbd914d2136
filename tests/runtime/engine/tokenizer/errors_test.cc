// What cannot be read is one line with the right code.

#include <gmock/gmock.h>

#include "tests/runtime/engine/tokenizer/tiny.h"

namespace switchyard {
namespace {

struct Bad {
  const char* name;
  const char* pointer;  // where the value goes
  const char* value;
  Code code;
  const char* says;
};

class ErrorsTest : public testing::TestWithParam<Bad> {};

TEST_P(ErrorsTest, OneLine) {
  const Bad& bad = GetParam();
  Json json = tiny_json();
  json[Json::json_pointer(bad.pointer)] = Json::parse(bad.value);
  const auto tokenizer = parse_tokenizer(json);
  ASSERT_FALSE(tokenizer);
  const std::string line = to_line(tokenizer.error());
  EXPECT_EQ(tokenizer.error().code, bad.code) << line;
  EXPECT_THAT(line, testing::HasSubstr(bad.says));
  EXPECT_THAT(line, testing::StartsWith("tokenizer.json: "));
  EXPECT_THAT(line, testing::Not(testing::HasSubstr("\n")));
}

constexpr Code kBad = Code::kBadData;
constexpr Code kUnknown = Code::kConfig;
const Bad kCases[] = {
    {"cycle", "/model/merges", R"([["", "a"]])", kBad, "cycle"},
    {"merge_part_missing", "/model/merges", R"([["a", "x"]])", kBad, "merge 0 needs \"x\""},
    {"merge_result_missing", "/model/merges", R"([["a", "b"], ["a", "c"]])", kBad, "\"ac\""},
    {"merge_of_three", "/model/merges", R"([["a", "b", "c"]])", kBad, "more than two"},
    {"merge_of_one", "/model/merges", R"([["a"]])", kBad, "less than two"},
    {"merge_string_of_three", "/model/merges", R"(["a b c"])", kBad, "not two tokens"},
    {"merge_number", "/model/merges", "[[\"a\", \"b\"], 1]", kBad,
     "model.merges: entry 1 must be a string or a list of two strings"},
    {"merge_part_number", "/model/merges", "[[\"a\", 1]]", kBad, "model.merges: entry 0 must be"},
    {"merges_object", "/model/merges", "{}", kBad, "model.merges: must be a list"},
    {"vocab_list", "/model/vocab", "[]", kBad, "model.vocab: must be an object"},
    {"vocab_null", "/model/vocab", "null", kBad, "model.vocab: must be an object"},
    {"model_number", "/model", "5", kBad, "model: must be an object"},
    {"merges_absent", "/model", R"({"type": "BPE", "vocab": {}})", kBad, "\"merges\" is missing"},
    {"id_twice", "/model/vocab/x", "3", kBad, "both have id 3"},
    {"id_negative", "/model/vocab/x", "-1", kBad, "out of range"},
    {"id_absurd", "/model/vocab/x", "2000000000", kBad, "out of range"},
    {"id_fraction", "/model/vocab/x", "1.5", kBad, "model.vocab: \"x\" must be a whole number"},
    {"id_text", "/model/vocab/x", "\"8\"", kBad, "model.vocab: \"x\" must be a whole number"},
    {"id_null", "/model/vocab/x", "null", kBad, "model.vocab: \"x\" must be a whole number"},
    {"id_huge", "/model/vocab/x", "1e300", kBad, "model.vocab: \"x\" must be a whole number"},
    {"unk_missing", "/model/unk_token", "\"nope\"", kBad, "nope"},
    {"added_id_contradicts", "/added_tokens/0/id", "3", kBad, "contradicts"},
    {"added_content_contradicts", "/added_tokens/0/content", "\"a\"", kBad, "contradicts"},
    {"added_absurd_id", "/added_tokens/0/id", "2000000000", kBad, "out of range"},
    {"added_empty", "/added_tokens/0/content", "\"\"", kBad, "content"},
    {"added_key", "/added_tokens/0/colour", "1", kUnknown, "colour"},
    {"top_key", "/extra", "1", kUnknown, "extra"},
    {"truncation", "/truncation", R"({"max_length": 5})", kUnknown, "truncation"},
    {"model_type", "/model/type", "\"Unigram\"", kUnknown, "Unigram"},
    {"model_key", "/model/gain", "2", kUnknown, "gain"},
    {"dropout", "/model/dropout", "0.1", kUnknown, "dropout"},
    {"suffix", "/model/end_of_word_suffix", "\"</w>\"", kUnknown, "end_of_word_suffix"},
    {"normalizer", "/normalizer", R"({"type": "Nmt"})", kUnknown, "Nmt"},
    {"pre_tokenizer", "/pre_tokenizer", R"({"type": "UnicodeScripts"})", kUnknown,
     "UnicodeScripts"},
    {"pre_tokenizer_number", "/pre_tokenizer", "5", kBad, "object"},
    {"behavior", "/pre_tokenizer",
     R"({"type": "Split", "pattern": {"String": "a"}, "behavior": "Odd"})", kUnknown, "Odd"},
    {"pattern", "/pre_tokenizer",
     R"({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"})", kUnknown, "(a"},
    {"decoder", "/decoder", R"({"type": "CTC"})", kUnknown, "CTC"},
    {"post_processor", "/post_processor", R"({"type": "Odd"})", kUnknown, "Odd"},
    {"template_id", "/post_processor",
     R"({"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "x", "type_id": 0}},
         {"Sequence": {"id": "A", "type_id": 0}}], "pair": [],
         "special_tokens": {"x": {"id": "x", "ids": [99], "tokens": ["x"]}}})",
     kBad, "99"},
    {"template_without_text", "/post_processor",
     R"({"type": "TemplateProcessing", "single": [], "pair": [], "special_tokens": {}})", kUnknown,
     "template"},
};

INSTANTIATE_TEST_SUITE_P(Files, ErrorsTest, testing::ValuesIn(kCases),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(TokenizerErrors, NotAnObject) {
  for (const std::string text : {"[]", "null", "5", "\"a\""}) {
    const auto tokenizer = Tokenizer::parse(text, "tokenizer.json");
    ASSERT_FALSE(tokenizer) << text;
    EXPECT_EQ(tokenizer.error().code, Code::kBadData) << text;
    EXPECT_EQ(to_line(tokenizer.error()), "tokenizer.json: must be an object") << text;
  }
}

struct Broken {
  std::string text;
  const char* says;
};

TEST(TokenizerErrors, NotJson) {
  using std::string_literals::operator""s;
  const Broken cases[] = {
      {"", "not valid JSON: "},
      {"{", "not valid JSON: "},
      {"{\"a\": \"", "not valid JSON: "},
      {"{} {}", "not valid JSON at byte 3: "},
      {"{}\0"s, "not valid JSON: "},
      {R"({"model": {"type": "BPE"}} x)", "not valid JSON: "},
      {R"({"model": {"type" "BPE"}})", "not valid JSON at byte 18: "},
      {R"({"model": {"vocab": {"a": 0x}, "merges": []}})", "not valid JSON at byte 26: "},
      {R"({"model": {"vocab": {}, "merges": ["#version" "c d"]}})", "not valid JSON at byte 46: "},
      {R"({"truncation": nullx})", "truncation, from byte 15: not valid JSON: "},
      {R"({"normalizer": {"a": tru}})", "normalizer, from byte 15: not valid JSON: "},
      {R"({"model": {"dropout": 1x}})", "model.dropout, from byte 22: not valid JSON: "}};
  for (const Broken& broken : cases) {
    const auto tokenizer = Tokenizer::parse(broken.text, "tokenizer.json");
    ASSERT_FALSE(tokenizer) << broken.text;
    EXPECT_EQ(tokenizer.error().code, Code::kBadData) << broken.text;
    EXPECT_THAT(tokenizer.error().what, testing::StartsWith(broken.says)) << broken.text;
  }
}

TEST(TokenizerErrors, EveryTruncationIsRefused) {
  const std::string whole = tiny_json().dump();
  for (size_t bytes = 0; bytes < whole.size(); ++bytes) {
    EXPECT_FALSE(Tokenizer::parse(whole.substr(0, bytes), "tokenizer.json")) << bytes;
  }
}

TEST(TokenizerErrors, TextAndIds) {
  const Tokenizer tokenizer = *parse_tokenizer(tiny_json());
  EXPECT_EQ(tokenizer.encode("a\xff").error().code, Code::kBadData);
  EXPECT_EQ(tokenizer.encode("\xed\xa0\x80").error().code, Code::kBadData);
  for (const TokenId id : {8, -1, INT32_MAX}) {
    const auto text = tokenizer.decode(std::vector<TokenId>{0, id});
    ASSERT_FALSE(text);
    EXPECT_EQ(text.error().code, Code::kBadData);
    EXPECT_THAT(to_line(text.error()), testing::HasSubstr(std::to_string(id)));
  }
}

TEST(TokenizerErrors, WildPatternEnds) {
  Json json = tiny_json();
  json["pre_tokenizer"] = {
      {"type", "Split"}, {"pattern", {{"Regex", "(a|aa)+$"}}}, {"behavior", "Isolated"}};
  const Tokenizer tokenizer = *parse_tokenizer(json);
  const auto ids = tokenizer.encode(std::string(200, 'a') + "b");
  ASSERT_FALSE(ids);
  EXPECT_EQ(ids.error().code, Code::kBadData);
}

}  // namespace
}  // namespace switchyard
