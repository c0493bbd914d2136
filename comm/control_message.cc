#include "comm/control_message.h"

#include <algorithm>
#include <array>

#include "runtime/base/byte_fields.h"

namespace switchyard {

namespace {

constexpr size_t kWhatBytesMax = 420, kWhereBytesMax = 300, kHintBytesMax = 290;
// A kind, a code and the lengths of three texts.
static_assert(kWhatBytesMax + kWhereBytesMax + kHintBytesMax + 2 + 6 <= ControlMessage::kBytesMax);

constexpr std::array kCodes = {Code::kFailed,   Code::kUsage,       Code::kBadData,  Code::kNoInput,
                               Code::kInternal, Code::kUnavailable, Code::kNoMemory, Code::kIo,
                               Code::kStopped,  Code::kPermission,  Code::kConfig};

// No longer than told, and no part of a UTF-8 character at its end.
std::string_view cut(std::string_view text, size_t bytes_max) {
  if (text.size() <= bytes_max) return text;
  size_t end = bytes_max;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xc0) == 0x80) --end;
  return text.substr(0, end);
}

}  // namespace

std::string encode(const ControlMessage& message) {
  std::string bytes;
  put(bytes, static_cast<uint8_t>(message.kind));
  if (message.kind != ControlMessage::Kind::kLeft) return bytes;
  put(bytes, static_cast<uint8_t>(message.error.code));
  put_text(bytes, cut(message.error.what, kWhatBytesMax));
  put_text(bytes, cut(message.error.where, kWhereBytesMax));
  put_text(bytes, cut(message.error.hint, kHintBytesMax));
  return bytes;
}

std::optional<ControlMessage> decode_control(std::string_view bytes) {
  ByteCursor cursor(bytes);
  const auto kind = cursor.number<uint8_t>();
  if (kind > static_cast<uint8_t>(ControlMessage::Kind::kHeard)) return std::nullopt;
  ControlMessage message{.kind = ControlMessage::Kind{kind}};
  if (message.kind == ControlMessage::Kind::kLeft) {
    message.error.code = Code{cursor.number<uint8_t>()};
    message.error.what = cursor.text();
    message.error.where = cursor.text();
    message.error.hint = cursor.text();
    if (std::ranges::find(kCodes, message.error.code) == kCodes.end()) return std::nullopt;
  }
  if (!cursor.at_end()) return std::nullopt;
  return message;
}

}  // namespace switchyard
