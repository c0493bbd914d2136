#include "runtime/engine/generation_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace switchyard {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Result<GenerationDefaults> parse(std::string_view json) {
  return parse_generation_config(json, "M/generation_config.json");
}

TEST(GenerationConfig, EveryKey) {
  const auto defaults = parse(R"({"temperature": 0.7, "top_p": 0.8, "min_p": 0, "top_k": 20,
      "repetition_penalty": 1.05, "do_sample": true, "eos_token_id": [151645, 151643, 151645],
      "pad_token_id": 1, "transformers_version": "4.51.0"})")
                            .value();
  EXPECT_TRUE(defaults.present);
  EXPECT_EQ(defaults.temperature, 0.7f);
  EXPECT_EQ(defaults.top_p, 0.8f);
  EXPECT_EQ(defaults.min_p, 0.0f);
  EXPECT_EQ(defaults.repetition_penalty, 1.05f);
  EXPECT_EQ(defaults.top_k, 20u);
  EXPECT_EQ(defaults.do_sample, true);
  EXPECT_THAT(defaults.end_ids, ElementsAre(151645, 151643));
}

TEST(GenerationConfig, NamesTheKeysItDoesNotFollow) {
  const auto neutral = parse(R"({"typical_p": 1.0, "num_beams": 1, "suppress_tokens": [],
      "bad_words_ids": null, "min_new_tokens": 0, "max_new_tokens": 5, "pad_token_id": 1})");
  EXPECT_THAT(neutral.value().ignored, IsEmpty());
  const auto other = parse(R"({"typical_p": 0.9, "num_beams": 4, "suppress_tokens": [3],
      "forced_eos_token_id": 2, "stop_strings": "x"})");
  EXPECT_THAT(other.value().ignored, ElementsAre("typical_p", "num_beams", "forced_eos_token_id",
                                                 "suppress_tokens", "stop_strings"));
}

TEST(GenerationConfig, AbsentAndNullAreUnset) {
  for (const char* json : {"{}", R"({"temperature": null, "top_k": null, "eos_token_id": null})"}) {
    const auto defaults = parse(json).value();
    EXPECT_TRUE(defaults.present);
    EXPECT_FALSE(defaults.temperature);
    EXPECT_FALSE(defaults.top_p);
    EXPECT_FALSE(defaults.min_p);
    EXPECT_FALSE(defaults.repetition_penalty);
    EXPECT_FALSE(defaults.top_k);
    EXPECT_FALSE(defaults.do_sample);
    EXPECT_THAT(defaults.end_ids, IsEmpty());
  }
  EXPECT_FALSE(GenerationDefaults{}.present);
  EXPECT_THAT(parse(R"({"eos_token_id": 2})")->end_ids, ElementsAre(2));
}

TEST(GenerationConfig, BadValuesAreNamed) {
  const struct {
    const char* json;
    const char* says;
  } cases[] = {
      {R"({"temperature": -0.1})", "temperature is -0.1"},
      {R"({"temperature": "hot"})", "temperature is \"hot\""},
      {R"({"top_p": 1.5})", "top_p is 1.5"},
      {R"({"min_p": -1})", "min_p is -1"},
      {R"({"repetition_penalty": 0})", "repetition_penalty is 0"},
      {R"({"top_k": -1})", "top_k is -1"},
      {R"({"top_k": 2.5})", "top_k is 2.5"},
      {R"({"do_sample": 1})", "do_sample is 1"},
      {R"({"eos_token_id": -2})", "eos_token_id is -2"},
      {R"({"eos_token_id": 2147483648})", "eos_token_id is 2147483648"},
      {R"({"eos_token_id": ["a"]})", "eos_token_id"},
      {"[]", "object"},
      {"{", "not valid JSON"},
  };
  for (const auto& [json, says] : cases) {
    const auto defaults = parse(json);
    ASSERT_FALSE(defaults) << json;
    EXPECT_EQ(defaults.error().code, Code::kBadData) << json;
    EXPECT_THAT(to_line(defaults.error()), HasSubstr(says));
    EXPECT_THAT(to_line(defaults.error()), HasSubstr("M/generation_config.json"));
  }
}

}  // namespace
}  // namespace switchyard
