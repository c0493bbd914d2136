#include "launch/checks.h"

#include <fmt/format.h>
#include <hwloc.h>
#include <sched.h>
#include <sys/resource.h>

#include <algorithm>
#include <memory>

#include "launch/cgroup.h"
#include "launch/cpu_limit.h"
#include "launch/memory_limit.h"
#include "launch/report_text.h"
#include "runtime/base/align.h"
#include "runtime/base/units.h"
#include "runtime/device/slab.h"
#include "runtime/kernels/kernel_table.h"
#include "storage/uring_queue.h"

namespace switchyard {
namespace {

constexpr uint64_t kMemoryLow = uint64_t{64} << 20;  // nothing but a toy fits below
constexpr uint64_t kRegisteredBytes = uint64_t{64} << 20;

// The processors and memory nodes that the job's control groups leave.
class LoadedTopology {
 public:
  LoadedTopology() {
    if (::hwloc_topology_init(&topology_) != 0) return;
    loaded_ = ::hwloc_topology_load(topology_) == 0;
  }
  ~LoadedTopology() {
    if (topology_ != nullptr) ::hwloc_topology_destroy(topology_);
  }
  LoadedTopology(const LoadedTopology&) = delete;

  bool loaded() const { return loaded_; }
  int count(hwloc_obj_type_t type) const { return ::hwloc_get_nbobjs_by_type(topology_, type); }
  uint64_t node_bytes(int node) const {
    const auto object =
        ::hwloc_get_obj_by_type(topology_, HWLOC_OBJ_NUMANODE, static_cast<unsigned>(node));
    return object != nullptr ? object->attr->numanode.local_memory : 0;
  }

 private:
  hwloc_topology_t topology_ = nullptr;
  bool loaded_ = false;
};

uint32_t allowed_processors() {
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return 0;
  return static_cast<uint32_t>(CPU_COUNT(&set));
}

// The alternative in brackets: "always [madvise] never".
std::string chosen_in_brackets(const std::string& text) {
  const size_t open = text.find('[');
  const size_t close = text.find(']', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  return text.substr(open + 1, close - open - 1);
}

}  // namespace

std::string_view check_state_name(CheckState state) {
  switch (state) {
    case CheckState::kOk:
      return "ok";
    case CheckState::kLimited:
      return "limited";
    case CheckState::kMissing:
      return "missing";
  }
  return "?";
}

Check check_cores(const std::string& root) {
  const LoadedTopology topology;
  const int cores = topology.loaded() ? topology.count(HWLOC_OBJ_CORE) : 0;
  const uint32_t processors = allowed_processors();
  Check check{"cores", CheckState::kOk, "", ""};
  check.value = fmt::format("{}, {} of this process", counted(cores, "core"),
                            counted(processors, "processor"));
  if (const auto quota = cpu_quota(root); quota && *quota < processors) {
    check.state = CheckState::kLimited;
    check.value += fmt::format("; a cgroup grants {:.2f} of them", *quota);
    check.mend = "raise the CPU quota (docker --cpus, sbatch --cpus-per-task), or use -t";
  }
  check.value += fmt::format("; {} used", counted(usable_threads(root), "thread"));
  return check;
}

Check check_instruction_sets() {
  Check check{"instruction sets", CheckState::kOk, "", ""};
  std::string chosen;
  for (const Kernels& kernels : all_kernels()) {
    if (!kernels.supported()) continue;
    if (chosen.empty()) chosen = kernels.name;
    check.value += fmt::format("{}{}", check.value.empty() ? "" : ", ", kernels.name);
  }
  check.value += fmt::format("; {} chosen", chosen);
  if (chosen == "scalar") {
    check.state = CheckState::kLimited;
    check.mend =
        "products are many times faster with AVX2 or AVX-512; a virtual machine may hide "
        "them (CPU type host)";
  }
  return check;
}

Check check_numa() {
  const LoadedTopology topology;
  if (!topology.loaded()) return {"NUMA", CheckState::kMissing, "unknown", "hwloc cannot tell"};
  const int nodes = topology.count(HWLOC_OBJ_NUMANODE);
  Check check{"NUMA", CheckState::kOk, counted(nodes, "node"), ""};
  for (int node = 0; nodes > 1 && node < std::min(nodes, 16); ++node) {
    check.value +=
        fmt::format("{}{}", node == 0 ? ", " : " + ", format_size(topology.node_bytes(node)));
  }
  if (nodes > 1) {
    check.state = CheckState::kLimited;
    check.mend =
        "threads of one node read the others' memory slowly; bind the process to one "
        "(numactl -N 0 -m 0)";
  }
  return check;
}

Check check_memory(const std::string& root) {
  Check check{"memory", CheckState::kOk, "", ""};
  const auto allowance = memory_allowance(root);
  if (!allowance) return {"memory", CheckState::kMissing, "unknown", "give --memory"};
  const auto total = number_of_key(read_small_file(root + "/proc/meminfo"), "MemTotal");
  check.value = fmt::format("{} free", format_size(allowance->bytes));
  if (total) check.value += fmt::format(" of {}", format_size(*total * 1024));
  if (allowance->limited_by != "MemAvailable") {
    check.state = CheckState::kLimited;
    check.value += fmt::format("; {} sets the limit", allowance->limited_by);
    check.mend = "raise the cgroup's memory limit (docker --memory, sbatch --mem)";
  } else {
    check.value += "; no cgroup limits it further";
  }
  if (allowance->bytes < kMemoryLow) {
    check.state = CheckState::kLimited;
    check.mend = "free memory: no model fits beside it";
  }
  return check;
}

Check check_huge_pages(const std::string& root) {
  const std::string mode =
      chosen_in_brackets(read_small_file(root + "/sys/kernel/mm/transparent_hugepage/enabled"));
  if (mode == "always" || mode == "madvise") return {"huge pages", CheckState::kOk, mode, ""};
  return {"huge pages", CheckState::kLimited, mode.empty() ? "none" : mode,
          "reading weights is slower on small pages: echo madvise > "
          "/sys/kernel/mm/transparent_hugepage/enabled"};
}

Check check_io_uring(const std::string& root) {
  const auto slab = Slab::allocate(kPageBytes, "the io_uring test");
  if (!slab) return {"io_uring", CheckState::kMissing, slab.error().what, slab.error().hint};
  const auto queue = UringQueue::open(slab->span(), 1, true);
  if (queue) return {"io_uring", CheckState::kOk, "works", ""};
  Check check{"io_uring", CheckState::kMissing, queue.error().what, queue.error().hint};
  const std::string disabled = read_small_file(root + "/proc/sys/kernel/io_uring_disabled");
  if (!disabled.empty() && disabled[0] != '0') {
    check.mend = fmt::format("sysctl kernel.io_uring_disabled is {}; set it to 0", disabled[0]);
  } else if (!disabled.empty()) {
    check.mend =
        "the sysctl allows it, so a seccomp filter refuses it (docker --security-opt "
        "seccomp=…)";
  }
  check.mend += "; until then reads go through the page cache, which is slower";
  return check;
}

Check check_memlock() {
  struct rlimit limit {};
  ::getrlimit(RLIMIT_MEMLOCK, &limit);
  Check check{"locked memory", CheckState::kOk, "", ""};
  check.value = limit.rlim_cur == RLIM_INFINITY ? "no limit" : format_size(limit.rlim_cur);
  const auto slab = Slab::allocate(kRegisteredBytes, "the test of registered buffers");
  if (!slab) return check;
  const auto queue = UringQueue::open(slab->span(), 1, true);
  if (!queue) {
    check.value += "; not tried without io_uring";
  } else if ((*queue)->registered()) {
    check.value += fmt::format("; {} registered", format_size(kRegisteredBytes));
  } else {
    check.state = CheckState::kLimited;
    check.value += fmt::format("; {} were refused", format_size(kRegisteredBytes));
    check.mend =
        "registered buffers make reads cheaper: ulimit -l unlimited (limits.conf: "
        "memlock; docker --ulimit memlock=-1)";
  }
  return check;
}

std::string checks_table(const std::vector<Check>& checks) {
  size_t width = 0;
  for (const Check& check : checks) width = std::max(width, check.name.size());
  std::string table;
  for (const Check& check : checks) {
    table += fmt::format("{:<8} {:<{}}  {}\n", check_state_name(check.state), check.name, width,
                         check.value);
    if (!check.mend.empty()) table += fmt::format("{:{}}-> {}\n", "", width + 11, check.mend);
  }
  return table;
}

}  // namespace switchyard
