#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "experts/policies/policy.h"
#include "runtime/base/result.h"

namespace switchyard {

inline constexpr std::string_view kPolicyDefault = "recall";

// The eviction policy called `name`. kUsage for an unknown name, with those there are in the hint,
// and for one that needs the future where it is not known.
Result<std::unique_ptr<EvictionPolicy>> make_policy(std::string_view name, PolicyShape shape);

// All names, "a, b, c"; without a known future those that need none.
std::string policy_names(bool future);

}  // namespace switchyard
