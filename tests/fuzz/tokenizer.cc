// Input: a tokenizer.json. What is accepted must encode and decode without a fault, and its stream
// must equal its decode.

#include "runtime/engine/tokenizer/tokenizer.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "runtime/base/check.h"
#include "runtime/base/file.h"

namespace switchyard {
namespace {

constexpr std::string_view kTexts[] = {"", " ab abc\n", "I'm 123 years, aaaab!  \t\r\n x",
                                       "caf\u00e9 e\u0301 \u4e2d\u6587 \u2581",
                                       "<s> a <s>b<s><s> \U0001f600\u0130"};

void check_round_trip(const Tokenizer& tokenizer, std::string_view text) {
  const auto ids = tokenizer.encode(text);
  if (!ids) return;
  for (const TokenId id : *ids) CHECK(id >= 0 && static_cast<size_t>(id) < tokenizer.vocab_size());
  for (const bool skip : {false, true}) {
    StreamDecoder stream(tokenizer, {.skip_special = skip});
    std::string all;
    for (const TokenId id : *ids) {
      const std::string part = stream.push(id);
      CHECK(is_utf8(part));
      all += part;
    }
    all += stream.finish();
    CHECK(is_utf8(all));
    CHECK(tokenizer.decode(*ids, {.skip_special = skip}) == all);
  }
}

}  // namespace
}  // namespace switchyard

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view json(reinterpret_cast<const char*>(data), size);
  const auto tokenizer = switchyard::Tokenizer::parse(json, "tokenizer.json");
  if (!tokenizer) return 0;
  for (const std::string_view text : switchyard::kTexts) {
    switchyard::check_round_trip(*tokenizer, text);
  }
  const size_t head = std::min<size_t>(size, 256);
  switchyard::check_round_trip(*tokenizer, json.substr(0, head));
  return 0;
}
