// Input: a routing trace file of either form. A file of the binary form is parsed as it is and once
// more with its hashes put right; what was read must survive being written again.

#include <string>
#include <string_view>

#include "experts/trace_csv.h"
#include "experts/trace_format.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace {

using namespace switchyard;

uint32_t number_at(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[at + i]);
  return value;
}

void set_hash(std::string& file, size_t at, std::string_view of) {
  const uint64_t hash = hash_bytes(std::as_bytes(std::span(of)));
  for (size_t i = 0; i < 8; ++i) file[at + i] = static_cast<char>(hash >> 8 * i & 0xff);
}

// Hashes and inverted lengths, as far as the lengths make sense.
void put_right(std::string& file) {
  const size_t magic = kTraceMagic.size();
  if (file.size() < magic + 8) return;
  file.replace(0, magic, kTraceMagic);
  size_t at = magic + 8 + size_t{number_at(file, magic + 4)};
  if (at + 8 > file.size()) return;
  set_hash(file, at, std::string_view(file).substr(0, at));
  for (at += 8; at + 16 <= file.size();) {
    const size_t bytes = number_at(file, at);
    for (size_t i = 0; i < 4; ++i) file[at + 4 + i] = static_cast<char>(~file[at + i]);
    if (bytes > file.size() - at - 16) return;
    set_hash(file, at + 8, std::string_view(file).substr(at + 16, bytes));
    at += 16 + bytes;
  }
}

// The last step of a file may be larger than what is written of it.
void write_again(const RoutingTrace& trace) {
  std::string file = encode_trace_header(trace.shape, trace.model);
  for (const RoutingStep& step : trace.steps) {
    const auto block = encode_trace_step(trace.shape, step);
    if (!block) return;
    file += *block;
  }
  std::string warning;
  const auto again = parse_trace(file, "again", warning);
  CHECK(again && warning.empty());
  CHECK(again->shape == trace.shape && again->model == trace.model);
  CHECK(again->steps.size() == trace.steps.size());
  for (size_t i = 0; i < trace.steps.size(); ++i) {
    const RoutingStep &a = trace.steps[i], &b = again->steps[i];
    CHECK(a.request == b.request && a.phase == b.phase && a.tokens == b.tokens);
    CHECK(a.routed.size() == b.routed.size() && a.predictions.size() == b.predictions.size());
    for (size_t j = 0; j < a.routed.size(); ++j) CHECK(a.routed[j].expert == b.routed[j].expert);
  }
}

void parse(std::string_view file) {
  std::string warning;
  const auto trace = parse_trace(file, "fuzz", warning);
  if (trace) write_again(*trace);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  std::string file(reinterpret_cast<const char*>(data), size);
  if (is_trace_csv(file)) {
    const auto trace = parse_trace_csv(file, "fuzz");
    if (trace) write_again(*trace);
    return 0;
  }
  parse(file);
  put_right(file);
  parse(file);
  return 0;
}
