#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

struct MemoryAllowance {
  uint64_t bytes = 0;      // that may still be used; page cache that can be dropped counts as free
  std::string limited_by;  // "MemAvailable" or a cgroup's folder
};

// What the machine and every control group above this process allow. Nothing where /proc tells
// nothing. `root` as for cgroup_folders().
std::optional<MemoryAllowance> memory_allowance(const std::string& root);

// The default --memory: the allowance less a reserve for what is not counted.
uint64_t default_memory_bytes(uint64_t allowance_bytes);

}  // namespace switchyard
