#pragma once

// Starts ranks of mpi_world_program under mpirun and tells what became of them.

#include <fmt/format.h>

#include <string>

#include "tests/comm/run_line.h"

namespace switchyard {

// `arguments`: the scene, then what mpi_world_program may be told.
inline Ended mpirun(uint32_t ranks, const std::string& arguments, const std::string& options = {}) {
  return run_line(fmt::format("{} -n {} {} {}", mpirun_command("-quiet " + options), ranks,
                              SWITCHYARD_MPI_PROGRAM, arguments));
}

}  // namespace switchyard
