#include "experts/policies/registry.h"

#include <fmt/format.h>

#include <utility>

#include "experts/policies/lru.h"

namespace switchyard {
namespace {

template <class Policy>
std::unique_ptr<EvictionPolicy> make(PolicyShape shape) {
  return std::make_unique<Policy>(std::move(shape));
}

struct Entry {
  std::string_view name;
  std::unique_ptr<EvictionPolicy> (*make)(PolicyShape shape);
};

constexpr Entry kPolicies[] = {
    {"lru", make<LruPolicy>},
};

}  // namespace

std::string policy_names() {
  std::string names;
  for (const Entry& entry : kPolicies) {
    names += names.empty() ? "" : ", ";
    names += entry.name;
  }
  return names;
}

Result<std::unique_ptr<EvictionPolicy>> make_policy(std::string_view name, PolicyShape shape) {
  for (const Entry& entry : kPolicies) {
    if (entry.name == name) return entry.make(std::move(shape));
  }
  return fail(Code::kUsage, fmt::format("no eviction policy '{}'", name), {},
              "there are: " + policy_names());
}

}  // namespace switchyard
