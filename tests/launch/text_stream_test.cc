#include "launch/text_stream.h"

#include <gtest/gtest.h>

#include <sstream>

#include "launch/model_files.h"
#include "runtime/base/file.h"

namespace switchyard {
namespace {

class TextStreamTest : public testing::Test {
 protected:
  static Tokenizer tokenizer() {
    return std::move(load_tokenizer(SWITCHYARD_TEST_DATA "/tokenizers/gpt2")->tokenizer);
  }

  static std::vector<TokenId> ids_of(const Tokenizer& tokens, const std::string& text) {
    return tokens.encode(text).value();
  }

  std::istringstream in_;
  std::ostringstream out_, err_;
  Console console_{in_, out_, err_};
};

TEST_F(TextStreamTest, ShowsOnlyWholeCharactersAtAnyTime) {
  const Tokenizer tokens = tokenizer();
  const std::string text = "naïve — 日本語 🙂 end";
  TextStream stream(&tokens, {}, {}, true, console_);
  for (const TokenId id : ids_of(tokens, text)) {
    ASSERT_FALSE(*stream.push(id));
    EXPECT_TRUE(is_utf8(out_.str())) << out_.str();
  }
  ASSERT_TRUE(stream.finish());
  EXPECT_EQ(out_.str(), text);
  EXPECT_EQ(stream.text(), text);
}

TEST_F(TextStreamTest, ShowsNothingOfAStopText) {
  const Tokenizer tokens = tokenizer();
  TextStream stream(&tokens, {}, {"the end"}, true, console_);
  bool stopped = false;
  for (const TokenId id : ids_of(tokens, "this is the end of it")) {
    stopped = *stream.push(id);
    if (stopped) break;
  }
  EXPECT_TRUE(stopped);
  ASSERT_TRUE(stream.finish());
  EXPECT_EQ(out_.str(), "this is ");
}

TEST_F(TextStreamTest, KeepsWhatIsNotShown) {
  const Tokenizer tokens = tokenizer();
  TextStream stream(&tokens, {}, {}, false, console_);
  for (const TokenId id : ids_of(tokens, "quiet")) ASSERT_FALSE(*stream.push(id));
  ASSERT_TRUE(stream.finish());
  EXPECT_EQ(stream.text(), "quiet");
  EXPECT_EQ(out_.str(), "");
}

TEST_F(TextStreamTest, WithoutATokenizerIdsStandForThemselves) {
  TextStream stream(nullptr, {}, {}, true, console_);
  for (const TokenId id : {7, 8, 9}) ASSERT_FALSE(*stream.push(id));
  ASSERT_TRUE(stream.finish());
  EXPECT_EQ(out_.str(), "7 8 9");
}

TEST_F(TextStreamTest, AFailingOutputIsAnIoError) {
  out_.setstate(std::ios::badbit);
  TextStream stream(nullptr, {}, {}, true, console_);
  const auto pushed = stream.push(7);
  ASSERT_FALSE(pushed);
  EXPECT_EQ(pushed.error().code, Code::kIo);
}

}  // namespace
}  // namespace switchyard
