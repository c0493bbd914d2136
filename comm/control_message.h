#pragma once

// What ranks tell each other beside the messages of the channels.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

struct ControlMessage {
  enum class Kind : uint8_t {
    kAlive,  // nothing but a sign of life
    kDone,   // this rank has nothing more to send or to receive
    kLeft,   // it gives up; the error says why
    kHeard,  // it knows that somebody has left, and goes as well
  };
  static constexpr size_t kBytesMax = 1024;

  Kind kind = Kind::kAlive;
  Error error = {};  // of kLeft
};

// At most kBytesMax bytes; long texts are cut.
std::string encode(const ControlMessage& message);
// Nothing when the bytes are no such message.
std::optional<ControlMessage> decode_control(std::string_view bytes);

}  // namespace switchyard
