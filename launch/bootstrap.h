#pragma once

// How this process was started, told from its environment: before MPI is initialised, because
// Open MPI ends a process that it thinks was started wrongly.

#include <cstdint>
#include <map>
#include <string>

#include "runtime/base/result.h"

namespace switchyard {

using Environment = std::map<std::string, std::string>;  // variables
Environment process_environment();

enum class LaunchKind : uint8_t {
  kPlain,  // one process
  kMpi,    // one of several ranks that MPI knows
};

// kUsage when SLURM started several processes that cannot find each other.
Result<LaunchKind> decide_launch(const Environment& environment);

// Sets what Open MPI is to read from this process' environment when it begins; what the user set
// stays. Before other threads.
void set_up_open_mpi(const Environment& environment);

// Whether this process is the first of those that cannot find each other: one of them is to say so.
bool is_first_apart(const Environment& environment);

// The ranks that share this node, as far as the starter tells: else 1 and 0.
struct NodeShare {
  uint32_t ranks = 1;
  uint32_t rank = 0;  // of this process among them

  // This rank's part of what the ranks of a node share.
  uint64_t of_bytes(uint64_t bytes) const { return bytes / ranks; }
  uint32_t of_threads(uint32_t threads) const;  // at least one
};
NodeShare node_share(const Environment& environment);

}  // namespace switchyard
