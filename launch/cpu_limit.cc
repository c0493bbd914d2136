#include "launch/cpu_limit.h"

#include <sched.h>

#include <algorithm>
#include <cmath>
#include <sstream>
#include <thread>

#include "launch/cgroup.h"

namespace switchyard {
namespace {

std::optional<double> quota_of(const CgroupFolder& folder) {
  double quota = 0;
  double period = 0;
  if (folder.unified) {
    std::istringstream text(read_small_file(folder.path + "/cpu.max"));
    if (!(text >> quota >> period)) return std::nullopt;  // "max 100000" means none
  } else {
    quota = static_cast<double>(read_cgroup_number(folder, "cpu.cfs_quota_us").value_or(0));
    period = static_cast<double>(read_cgroup_number(folder, "cpu.cfs_period_us").value_or(0));
  }
  if (!(quota > 0) || !(period > 0)) return std::nullopt;
  return quota / period;
}

uint32_t processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    return static_cast<uint32_t>(std::max(1, CPU_COUNT(&set)));
  }
  return std::max(1U, std::thread::hardware_concurrency());
}

}  // namespace

std::optional<double> cpu_quota(const std::string& root) {
  std::optional<double> least;
  for (const CgroupFolder& folder : cgroup_folders(root, "cpu")) {
    const auto quota = quota_of(folder);
    if (quota && (!least || *quota < *least)) least = quota;
  }
  return least;
}

uint32_t usable_threads(const std::string& root) {
  const auto quota = cpu_quota(root);
  if (!quota) return processors();
  const auto granted = static_cast<uint32_t>(std::min(*quota, 65536.0));
  return std::clamp(granted, 1U, processors());
}

}  // namespace switchyard
