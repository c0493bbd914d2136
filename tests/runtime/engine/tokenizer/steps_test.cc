// The single steps on texts made to tell them apart.

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "runtime/engine/tokenizer/decoder.h"
#include "runtime/engine/tokenizer/normalizer.h"
#include "runtime/engine/tokenizer/pre_tokenizer.h"
#include "runtime/engine/tokenizer/unicode.h"

namespace switchyard {
namespace {

using Strings = std::vector<std::string>;

std::string normalized(const char* spec, const std::string& input) {
  RegexScratch scratch;
  NormalizedText text{input, true};
  const auto steps = parse_normalizers(Json::parse(spec), "t");
  EXPECT_TRUE(steps) << to_line(steps.error());
  for (const auto& step : *steps) EXPECT_TRUE(step->apply(text, scratch));
  return text.text;
}

TEST(Normalizers, UnicodeForms) {
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "e\u0301 \ufb01"), "\u00e9 \ufb01");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "\u00e9\ufb01"), "e\u0301\ufb01");
  EXPECT_EQ(normalized(R"({"type": "NFKC"})", "e\u0301\ufb01"), "\u00e9fi");
  EXPECT_EQ(normalized(R"({"type": "NFKD"})", "\u00e9\ufb01"), "e\u0301fi");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "a\u0301\u0323"), "a\u0323\u0301") << "marks in order";
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "\u1112\u1161\u11ab"), "\ud55c") << "Hangul";
}

TEST(Normalizers, Others) {
  EXPECT_EQ(normalized(R"({"type": "Lowercase"})", "ÀB\u0130\u03a3"), "àbi\u0307\u03c3");
  EXPECT_EQ(normalized(R"({"type": "Strip", "strip_left": true, "strip_right": true})",
                       "\u3000 a b\u00a0\n"),
            "a b");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "_"})", "a"), "_a");
  EXPECT_EQ(normalized(R"({"type": "Prepend", "prepend": "_"})", ""), "");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "})",
                       "a   b c"),
            "a b c");
}

Strings pieces(const char* spec, const std::string& input) {
  RegexScratch scratch;
  Pieces all{input, {{0, static_cast<uint32_t>(input.size())}}, true};
  const auto steps = parse_pre_tokenizers(Json::parse(spec), "t");
  EXPECT_TRUE(steps) << to_line(steps.error());
  for (const auto& step : *steps) EXPECT_TRUE(step->apply(all, scratch));
  Strings out;
  for (size_t i = 0; i < all.pieces.size(); ++i) out.emplace_back(all.piece(i));
  return out;
}

std::string split(const std::string& behavior, const char* invert) {
  return R"({"type": "Split", "pattern": {"String": "-"}, "behavior": ")" + behavior +
         R"(", "invert": )" + invert + "}";
}

TEST(PreTokenizers, SplitBehaviors) {
  const std::string text = "the-final--countdown";
  const auto plain = [&](const char* name) { return pieces(split(name, "false").c_str(), text); };
  EXPECT_EQ(plain("Removed"), (Strings{"the", "final", "countdown"}));
  EXPECT_EQ(plain("Isolated"), (Strings{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(plain("MergedWithPrevious"), (Strings{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(plain("MergedWithNext"), (Strings{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(plain("Contiguous"), (Strings{"the", "-", "final", "--", "countdown"}));
  EXPECT_EQ(pieces(split("Removed", "true").c_str(), text), (Strings{"-", "-", "-"}));
}

TEST(PreTokenizers, Classes) {
  EXPECT_EQ(pieces(R"({"type": "Digits", "individual_digits": true})", "a12½"),
            (Strings{"a", "1", "2", "½"}));
  EXPECT_EQ(pieces(R"({"type": "Digits", "individual_digits": false})", "a12½b"),
            (Strings{"a", "12½", "b"}));
  EXPECT_EQ(pieces(R"({"type": "Whitespace"})", " ab_1  c!?\u00e9"),
            (Strings{"ab_1", "c", "!?", "\u00e9"}));
  EXPECT_EQ(pieces(R"({"type": "WhitespaceSplit"})", " ab! \u3000c"), (Strings{"ab!", "c"}));
  EXPECT_EQ(pieces(R"({"type": "Punctuation"})", "a,b。"), (Strings{"a", ",", "b", "。"}));
  EXPECT_EQ(pieces(R"({"type": "CharDelimiterSplit", "delimiter": ","})", "a,,b"),
            (Strings{"a", "b"}));
}

TEST(PreTokenizers, MetaspaceMarksTheStart) {
  const auto with = [](const char* scheme, const char* split) {
    return std::string(R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": ")") +
           scheme + R"(", "split": )" + split + "}";
  };
  EXPECT_EQ(pieces(with("always", "true").c_str(), "a b"), (Strings{"_a", "_b"}));
  EXPECT_EQ(pieces(with("never", "true").c_str(), "a b"), (Strings{"a", "_b"}));
  EXPECT_EQ(pieces(with("first", "false").c_str(), " a b"), (Strings{"_a_b"}));
  const std::string after_split =
      R"({"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, )" +
      with("first", "true") + "]}";
  EXPECT_EQ(pieces(after_split.c_str(), "a b"), (Strings{"_a", "b"}));
}

Strings found(const char* pattern, const std::string& text) {
  const auto regex = Regex::compile(pattern, "t");
  if (!regex) return {to_line(regex.error())};
  RegexScratch scratch;
  std::vector<Match> matches;
  EXPECT_TRUE(regex->find_all(text, scratch, matches));
  Strings out;
  for (const Match& match : matches)
    out.push_back(text.substr(match.begin, match.end - match.begin));
  return out;
}

TEST(Regex, ReadsOniguruma) {
  EXPECT_EQ(found(R"(\s+)", "a\u180eb\u0085\u2003c"), (Strings{"\u0085\u2003"}))
      << "U+180E is no white space";
  EXPECT_EQ(found(R"([^\S\n]+)", " \u180e\t\n"), (Strings{" ", "\t"}));
  EXPECT_EQ(found(R"(\w+)", "na\u0308h-\u2167_4"), (Strings{"na\u0308h", "\u2167_4"}));
  EXPECT_EQ(found(R"(\s+$)", "a  \nb  c  "), (Strings{"  ", "  "})) << "$ ends every line";
  EXPECT_EQ(found(R"(\p{N}{1,3}+)", "12345"), (Strings{"12345"})) << "not possessive";
  EXPECT_EQ(found(R"((?:a|(b)){2}+c)", "ababac ababc"), (Strings{"babac", "ababc"}));
  EXPECT_EQ(found(R"(a{,2}b)", "aaab"), (Strings{"aab"}));
  EXPECT_EQ(found(R"(x{a}|[\u4e00-\u9fa5]+)", "x{a}\u4e2d"), (Strings{"x{a}", "\u4e2d"}));
  EXPECT_EQ(found(R"(\p{Han}+)", "\u4e2d\u3001\u56fd"), (Strings{"\u4e2d", "\u56fd"}));
  EXPECT_EQ(found("b*", "abb"), (Strings{"", "bb"}));
}

TEST(Regex, RefusesWhatItCannotRead) {
  for (const char* pattern : {R"(\b)", R"(\1)", R"([a[b]])", R"([a&&b])", "(?m:a)", "(*FAIL)", "[a",
                              R"(\h)", R"([\W])", R"(\xff)", R"(\p{Nonsense})", "a)", "\\"}) {
    const auto regex = Regex::compile(pattern, "t");
    ASSERT_FALSE(regex) << pattern;
    EXPECT_EQ(regex.error().code, Code::kConfig) << pattern;
  }
}

Strings decoded(const char* spec, const Strings& tokens) {
  const auto steps = parse_decoder(Json::parse(spec), "t");
  EXPECT_TRUE(steps) << to_line(steps.error());
  DecodeRun run(*steps);
  Strings out;
  for (const std::string& token : tokens) out.push_back(run.push(token));
  out.push_back(run.finish());
  return out;
}

TEST(Decoders, HoldBackWhatIsNotCertain) {
  EXPECT_EQ(decoded(R"({"type": "ByteLevel"})", {"a", "Ã", "©", "â"}),
            (Strings{"a", "", "\u00e9", "", "\ufffd"}));
  EXPECT_EQ(decoded(R"({"type": "ByteFallback"})", {"<0xC3>", "<0xA9>", "a", "<0xC3>", "<0xZZ>"}),
            (Strings{"", "", "\u00e9a", "", "\ufffd<0xZZ>", ""}));
  EXPECT_EQ(decoded(R"({"type": "ByteFallback"})", {"<0xC3>", "<0xA9>", "<0xC3>"}),
            (Strings{"", "", "", "\ufffd\ufffd\ufffd"}));
  EXPECT_EQ(
      decoded(R"({"type": "Strip", "content": " ", "start": 1, "stop": 1})", {"  a  ", " ", "b"}),
      (Strings{" a ", "", "b", ""}));
}

TEST(Decoders, WorkAcrossTokensOnceFused) {
  const char* strip = R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
      {"type": "Strip", "content": " ", "start": 1, "stop": 2}]})";
  EXPECT_EQ(decoded(strip, {" ", " a", " ", " ", " ", "b "}),
            (Strings{"", " a", "", "", " ", "  b", ""}));
  const char* replace = R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
      {"type": "Replace", "pattern": {"String": "aab"}, "content": "!"}]})";
  EXPECT_EQ(decoded(replace, {"xa", "a", "ab", "a"}), (Strings{"x", "", "a!", "", "a"}));
}

TEST(Decoders, MetaspaceDropsTheFirstMark) {
  const char* spec = R"({"type": "Metaspace", "replacement": "_", "prepend_scheme": "first"})";
  EXPECT_EQ(decoded(spec, {"_a", "_b_c"}), (Strings{"a", " b c", ""}));
}

TEST(Utf8Repair, ReplacesMaximalParts) {
  const auto repaired = [](std::string_view bytes) {
    Utf8Repair repair;
    std::string out;
    repair.push(bytes, out);
    repair.finish(out);
    return out;
  };
  EXPECT_EQ(repaired("a\xf0\x9f\x98 b"), "a\ufffd b");
  EXPECT_EQ(repaired("\xe2\x28\xa1"), "\ufffd(\ufffd");
  EXPECT_EQ(repaired("\xc0\x80"), "\ufffd\ufffd");
  EXPECT_EQ(repaired("\xed\xa0\x80"), "\ufffd\ufffd\ufffd");
  EXPECT_EQ(repaired("\xf4\x90\x80\x80"), "\ufffd\ufffd\ufffd\ufffd");
  EXPECT_EQ(repaired("\xe4\xb8\xad\xf0\x9f\x98\x80"), "\u4e2d\U0001f600");
}

}  // namespace
}  // namespace switchyard
