#include "runtime/engine/families/registry.h"

#include "runtime/engine/model_spec.h"

// One line a family: its model_type, which also names describe_MODEL_TYPE, and its architecture.
#define SWITCHYARD_FAMILIES(FAMILY)        \
  FAMILY(mixtral, "MixtralForCausalLM")    \
  FAMILY(olmoe, "OlmoeForCausalLM")        \
  FAMILY(qwen2_moe, "Qwen2MoeForCausalLM") \
  FAMILY(qwen3_moe, "Qwen3MoeForCausalLM")

namespace switchyard {

#define SWITCHYARD_DECLARE(name, architecture) \
  Result<ModelSpec> describe_##name(ConfigReader& config);
SWITCHYARD_FAMILIES(SWITCHYARD_DECLARE)
#undef SWITCHYARD_DECLARE

std::span<const Family> all_families() {
#define SWITCHYARD_ROW(name, architecture) {#name, architecture, describe_##name},
  static constexpr Family kFamilies[] = {SWITCHYARD_FAMILIES(SWITCHYARD_ROW)};
#undef SWITCHYARD_ROW
  return kFamilies;
}

}  // namespace switchyard
