// Input: what another rank says. What is understood must survive being said again.

#include "comm/control_message.h"

#include <string>
#include <string_view>

#include "runtime/base/check.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace switchyard;
  const auto message = decode_control({reinterpret_cast<const char*>(data), size});
  if (!message) return 0;
  const std::string bytes = encode(*message);
  CHECK(bytes.size() <= ControlMessage::kBytesMax);
  const auto again = decode_control(bytes);  // shorter, if its texts were long
  CHECK(again && encode(*again) == bytes && again->error.code == message->error.code);
  return 0;
}
