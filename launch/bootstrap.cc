#include "launch/bootstrap.h"

#include <fmt/format.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string_view>

namespace switchyard {
namespace {

// SLURM's numbers for steps that are not srun's doing: a batch script, a shell of salloc.
constexpr uint32_t kFirstReservedStep = 0xfffffff0;

std::optional<uint32_t> parse_number(std::string_view text) {
  uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

std::optional<uint32_t> number(const Environment& environment, const std::string& name) {
  const auto found = environment.find(name);
  return found == environment.end() ? std::nullopt : parse_number(found->second);
}

// Whether srun started this process, and how many it did.
std::optional<uint32_t> tasks_of_step(const Environment& environment) {
  if (!number(environment, "SLURM_PROCID")) return std::nullopt;
  // sbatch runs its script with the numbers of the whole job, but as no step.
  const auto step = number(environment, "SLURM_STEP_ID");
  if (!step || *step >= kFirstReservedStep) return std::nullopt;
  const auto tasks = number(environment, "SLURM_STEP_NUM_TASKS");
  return tasks ? tasks : number(environment, "SLURM_NTASKS");
}

// The tasks on a node of SLURM's list, as "2(x3),1": three nodes with two and one with one.
std::optional<uint32_t> tasks_on_node(std::string_view list, uint32_t node) {
  while (!list.empty()) {
    const std::string_view item = list.substr(0, list.find(','));
    list.remove_prefix(std::min(list.size(), item.size() + 1));
    const size_t open = item.find("(x");
    const auto tasks = parse_number(item.substr(0, open));
    std::optional<uint32_t> nodes = 1;
    if (open != std::string_view::npos && item.ends_with(')')) {
      nodes = parse_number(item.substr(open + 2, item.size() - open - 3));
    }
    if (!tasks || !nodes) return std::nullopt;
    if (node < *nodes) return tasks;
    node -= *nodes;
  }
  return std::nullopt;
}

NodeShare checked(std::optional<uint32_t> ranks, std::optional<uint32_t> rank) {
  if (!ranks || !rank || *rank >= *ranks) return {};
  return {.ranks = *ranks, .rank = *rank};
}

// Open MPI of Debian 12 speaks neither PMI-1 nor PMI-2: it would end the process.
tl::unexpected<Error> fail_apart(std::string_view starter, uint32_t processes) {
  return fail(Code::kUsage,
              fmt::format("{} started {} processes that Open MPI cannot join", starter, processes),
              {}, "start them with srun --mpi=pmix or with mpirun of Open MPI");
}

}  // namespace

Environment process_environment() {
  Environment environment;
  for (char** entry = environ; *entry != nullptr; ++entry) {
    const std::string_view text = *entry;
    const size_t equals = text.find('=');
    if (equals == std::string_view::npos) continue;
    environment.emplace(text.substr(0, equals), text.substr(equals + 1));
  }
  return environment;
}

Result<LaunchKind> decide_launch(const Environment& environment) {
  // mpirun inside a SLURM job comes first: what SLURM says is about the job then.
  if (const auto ranks = number(environment, "OMPI_COMM_WORLD_SIZE")) {
    return *ranks > 1 ? LaunchKind::kMpi : LaunchKind::kPlain;
  }
  const auto tasks = tasks_of_step(environment);
  if (tasks == 1) return LaunchKind::kPlain;
  if (environment.contains("PMIX_NAMESPACE")) return LaunchKind::kMpi;
  if (tasks) return fail_apart("srun", *tasks);
  const auto processes = number(environment, "PMI_SIZE");  // set by MPICH and its kin
  if (processes && *processes > 1) return fail_apart("another MPI", *processes);
  return LaunchKind::kPlain;
}

// Ranks of srun meet twice in MPI_Init, and as SLURM 22.05 does it, some may be past the second
// time while one still waits for the first to end: the first message that it gets then crashes it.
// So they meet once, and ask for addresses when they need them.
void set_up_open_mpi(const Environment& environment) {
  if (environment.contains("OMPI_COMM_WORLD_SIZE")) return;  // mpirun's are not SLURM's
  ::setenv("OMPI_MCA_pmix_base_async_modex", "1", 0);
  ::setenv("OMPI_MCA_pmix_base_collect_data", "0", 0);
}

bool is_first_apart(const Environment& environment) {
  for (const char* name : {"OMPI_COMM_WORLD_RANK", "SLURM_PROCID", "PMI_RANK"}) {
    if (const auto task = number(environment, name)) return *task == 0;
  }
  return true;
}

uint32_t NodeShare::of_threads(uint32_t threads) const { return std::max(1U, threads / ranks); }

NodeShare node_share(const Environment& environment) {
  if (environment.contains("OMPI_COMM_WORLD_SIZE")) {
    return checked(number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE"),
                   number(environment, "OMPI_COMM_WORLD_LOCAL_RANK"));
  }
  if (!tasks_of_step(environment)) return {};
  const auto list = environment.find("SLURM_STEP_TASKS_PER_NODE");
  const auto node = number(environment, "SLURM_NODEID");
  if (list == environment.end() || !node) return {};
  return checked(tasks_on_node(list->second, *node), number(environment, "SLURM_LOCALID"));
}

}  // namespace switchyard
