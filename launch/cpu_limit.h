#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

// Processors' worth of time that the control groups above this process grant: 1.5 …; nothing when
// there is no quota. `root` as for cgroup_folders().
std::optional<double> cpu_quota(const std::string& root);

// Threads worth starting: the processors this process may run on, no more than its quota; at least
// one.
uint32_t usable_threads(const std::string& root);

}  // namespace switchyard
