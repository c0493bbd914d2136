#include "experts/policies/registry.h"

#include <fmt/format.h>

#include <utility>

#include "experts/policies/frequency.h"
#include "experts/policies/lru.h"
#include "experts/policies/oracle.h"
#include "experts/policies/pass.h"
#include "experts/policies/recall.h"
#include "experts/policies/slru.h"

namespace switchyard {
namespace {

template <class Policy>
std::unique_ptr<EvictionPolicy> make(PolicyShape shape) {
  return std::make_unique<Policy>(std::move(shape));
}

constexpr std::string_view kOracle = "oracle";

struct Entry {
  std::string_view name;
  std::unique_ptr<EvictionPolicy> (*make)(PolicyShape shape);
};

constexpr Entry kPolicies[] = {
    {"lru", make<LruPolicy>},
    {"lfu", make<LfuPolicy>},
    {"freq-recency", make<FreqRecencyPolicy>},
    {"decayed-lfu", make<DecayedLfuPolicy>},
    {"slru", make<SlruPolicy>},
    {"activation", make<ActivationPolicy>},
    {"least-stale", make<LeastStalePolicy>},
    {"multi-scale", make<MultiScalePolicy>},
    {"recall", make<RecallPolicy>},
    {kOracle, make<OraclePolicy>},
};

}  // namespace

std::string policy_names(bool future) {
  std::string names;
  for (const Entry& entry : kPolicies) {
    if (entry.name == kOracle && !future) continue;
    names += names.empty() ? "" : ", ";
    names += entry.name;
  }
  return names;
}

Result<std::unique_ptr<EvictionPolicy>> make_policy(std::string_view name, PolicyShape shape) {
  for (const Entry& entry : kPolicies) {
    if (entry.name != name) continue;
    if (name == kOracle && shape.future == nullptr) {
      return fail(Code::kUsage, "the oracle knows the future of recorded traces only", "--policy",
                  "see switchyard simulate");
    }
    return entry.make(std::move(shape));
  }
  return fail(Code::kUsage, fmt::format("no eviction policy '{}'", name), {},
              "there are: " + policy_names(shape.future != nullptr));
}

}  // namespace switchyard
