#include "launch/memory_limit.h"

#include <algorithm>
#include <cstdint>

#include "launch/cgroup.h"

namespace switchyard {
namespace {

constexpr uint64_t kReserveMin = uint64_t{48} << 20;
constexpr uint64_t kReserveMax = uint64_t{2} << 30;

uint64_t less(uint64_t a, uint64_t b) { return a > b ? a - b : 0; }

// The page cache a group holds, from its memory.stat.
uint64_t droppable_bytes(const CgroupFolder& folder) {
  const std::string stat = read_small_file(folder.path + "/memory.stat");
  const std::string prefix = folder.unified ? "" : "total_";  // with the groups below it
  return number_of_key(stat, prefix + "inactive_file").value_or(0) +
         number_of_key(stat, prefix + "active_file").value_or(0);
}

std::optional<uint64_t> limit_of(const CgroupFolder& folder) {
  if (!folder.unified) return read_cgroup_number(folder, "memory.limit_in_bytes");
  const auto max = read_cgroup_number(folder, "memory.max");
  const auto high = read_cgroup_number(folder, "memory.high");
  return max && high ? std::min(*max, *high) : (max ? max : high);
}

std::optional<uint64_t> free_bytes(const CgroupFolder& folder) {
  const auto limit = limit_of(folder);
  if (!limit) return std::nullopt;
  const auto usage =
      read_cgroup_number(folder, folder.unified ? "memory.current" : "memory.usage_in_bytes");
  return less(*limit, less(usage.value_or(0), droppable_bytes(folder)));
}

}  // namespace

std::optional<MemoryAllowance> memory_allowance(const std::string& root) {
  std::optional<MemoryAllowance> allowance;
  const std::string meminfo = read_small_file(root + "/proc/meminfo");
  if (const auto available_kib = number_of_key(meminfo, "MemAvailable")) {
    allowance = {*available_kib * 1024, "MemAvailable"};
  }
  for (const CgroupFolder& folder : cgroup_folders(root, "memory")) {
    const auto bytes = free_bytes(folder);
    if (bytes && (!allowance || *bytes < allowance->bytes)) allowance = {*bytes, folder.path};
  }
  return allowance;
}

uint64_t default_memory_bytes(uint64_t allowance_bytes) {
  const uint64_t reserve = std::clamp(allowance_bytes / 20, kReserveMin, kReserveMax);
  return allowance_bytes - std::min(reserve, allowance_bytes / 2);
}

}  // namespace switchyard
