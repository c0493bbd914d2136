#include "comm/control_message.h"

#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <string>

namespace switchyard {
namespace {

using Kind = ControlMessage::Kind;

TEST(ControlMessageTest, IsAByteUnlessSomebodyLeaves) {
  for (const Kind kind : {Kind::kAlive, Kind::kDone, Kind::kHeard}) {
    const std::string bytes = encode({.kind = kind});
    EXPECT_EQ(bytes.size(), 1U);
    EXPECT_EQ(decode_control(bytes)->kind, kind);
  }
}

TEST(ControlMessageTest, TellsWhySomebodyLeaves) {
  const Error error{Code::kIo, "cannot read", "expert 5", "another drive"};
  const auto message = decode_control(encode({.kind = Kind::kLeft, .error = error}));
  ASSERT_TRUE(message.has_value());
  EXPECT_EQ(message->kind, Kind::kLeft);
  EXPECT_EQ(message->error.code, Code::kIo);
  EXPECT_EQ(to_line(message->error), to_line(error));
}

TEST(ControlMessageTest, CutsLongTextsBetweenCharacters) {
  const std::string long_text = "x" + [] {
    std::string text;
    for (int i = 0; i < 1000; ++i) text += "é";
    return text;
  }();
  const Error error{Code::kFailed, long_text, long_text, long_text};
  const std::string bytes = encode({.kind = Kind::kLeft, .error = error});
  EXPECT_LE(bytes.size(), ControlMessage::kBytesMax);
  const auto message = decode_control(bytes);
  ASSERT_TRUE(message.has_value());
  for (const auto& text : {message->error.what, message->error.where, message->error.hint}) {
    EXPECT_GT(text.size(), 200U);
    EXPECT_EQ(text.size() % 2, 1U) << "half a character";
  }
}

RC_GTEST_PROP(ControlMessageTest, KnowsWhatIsNone, (const std::string& bytes)) {
  const auto message = decode_control(bytes);
  if (message) RC_ASSERT(encode(*message) == bytes);
}

TEST(ControlMessageTest, RefusesACodeThatIsNone) {
  std::string bytes = encode({.kind = Kind::kLeft, .error = {Code::kIo, "a", "b", "c"}});
  EXPECT_TRUE(decode_control(bytes).has_value());
  EXPECT_FALSE(decode_control(bytes + "d").has_value());
  EXPECT_FALSE(decode_control(bytes.substr(0, bytes.size() - 1)).has_value());
  bytes[1] = 0;
  EXPECT_FALSE(decode_control(bytes).has_value());
  EXPECT_FALSE(decode_control({}).has_value());
}

}  // namespace
}  // namespace switchyard
