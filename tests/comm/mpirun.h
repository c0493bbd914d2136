#pragma once

// Starts ranks of mpi_world_program under mpirun and tells what became of them.

#include <fmt/format.h>

#include <string>

#include "tests/comm/run_line.h"

namespace switchyard {

// The line of the shell that starts `ranks` ranks of the program.
inline std::string mpirun_line(uint32_t ranks, const std::string& arguments,
                               const std::string& options = {}) {
  // MPI leaks; root is fine for a test; more ranks than processors, too.
  ::setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  return fmt::format(
      "timeout -s KILL 60 mpirun -quiet --oversubscribe --bind-to none {} -n {} {} {}", options,
      ranks, SWITCHYARD_MPI_PROGRAM, arguments);
}

// `arguments`: the scene, then what mpi_world_program may be told.
inline Ended mpirun(uint32_t ranks, const std::string& arguments, const std::string& options = {}) {
  return run_line("exec " + mpirun_line(ranks, arguments, options));
}

}  // namespace switchyard
