#pragma once

#include <cstdint>
#include <memory>
#include <string_view>

#include "experts/policies/policy.h"
#include "runtime/base/result.h"

namespace switchyard {

// The eviction policy called `name`, for that many slots. kUsage for an unknown name, with those
// there are in the hint.
Result<std::unique_ptr<EvictionPolicy>> make_policy(std::string_view name, uint32_t slots);

}  // namespace switchyard
