// A checkpoint of an eval: any bytes, as they are and once more with the checksum put right; what
// was read can be gone on with, and reads the same when written again.

#include "launch/eval_checkpoint.h"

#include <string>
#include <string_view>

#include "runtime/base/byte_fields.h"
#include "runtime/base/check.h"

namespace {

using namespace switchyard;

void parse(std::string_view file) {
  auto checkpoint = parse_checkpoint(file, "fuzz");
  if (!checkpoint) return;
  const auto again =
      parse_checkpoint(encode_checkpoint(checkpoint->subject, checkpoint->figures).value(), "fuzz");
  CHECK(again && check_subject(again->subject, checkpoint->subject, "fuzz"));
  CHECK(again->figures.logits.digest() == checkpoint->figures.logits.digest());
  const std::string row(1000, 'x');
  checkpoint->figures.logits.update(std::as_bytes(std::span(row)));
  (void)checkpoint->figures.logits.digest();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  parse(file);
  if (size < sizeof(uint64_t)) return 0;
  file.resize(size - sizeof(uint64_t));
  put(file, hash_text(file));
  parse(file);
  return 0;
}
