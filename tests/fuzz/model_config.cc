// The first byte chooses the parser: even config.json, odd generation_config.json.

#include <cstddef>
#include <cstdint>
#include <string_view>

#include "runtime/base/check.h"
#include "runtime/engine/generation_config.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {
namespace {

void check_spec(const ModelSpec& spec) {
  CHECK(spec.attention.heads % spec.attention.kv_heads == 0);
  CHECK(spec.rope.inverse_frequency.size() == spec.attention.head_dim / 2);
  CHECK(spec.moe.top_k >= 1 && spec.moe.top_k <= spec.moe.experts);
  CHECK(spec.layer_names.size() == spec.layers.size());
  CHECK(spec.sparse_layers() > 0);
  CHECK(spec.expert_names != nullptr);
}

}  // namespace
}  // namespace switchyard

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  if (data[0] % 2 == 1) {
    (void)switchyard::parse_generation_config(text, "generation_config.json");
  } else if (const auto spec = switchyard::parse_model_spec(text, "config.json")) {
    switchyard::check_spec(*spec);
  }
  return 0;
}
