#include "experts/policies/registry.h"

#include <fmt/format.h>

#include <string>

#include "experts/policies/lru.h"

namespace switchyard {
namespace {

template <class Policy>
std::unique_ptr<EvictionPolicy> make(uint32_t slots) {
  return std::make_unique<Policy>(slots);
}

struct Entry {
  std::string_view name;
  std::unique_ptr<EvictionPolicy> (*make)(uint32_t slots);
};

constexpr Entry kPolicies[] = {
    {"lru", make<LruPolicy>},
};

}  // namespace

Result<std::unique_ptr<EvictionPolicy>> make_policy(std::string_view name, uint32_t slots) {
  std::string names;
  for (const Entry& entry : kPolicies) {
    if (entry.name == name) return entry.make(slots);
    names += names.empty() ? "" : ", ";
    names += entry.name;
  }
  return fail(Code::kUsage, fmt::format("no eviction policy '{}'", name), {},
              "there are: " + names);
}

}  // namespace switchyard
