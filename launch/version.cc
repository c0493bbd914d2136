#include "launch/version.h"

#include <fmt/format.h>

#include "comm/mpi_world.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {

namespace {

// "Open MPI v4.1.4", of all that it says about itself.
std::string mpi_name() {
  const std::string text = mpi_version();
  return text.substr(0, text.find(','));
}

}  // namespace

std::string version_text() {
  std::string sets;
  std::string chosen;
  for (const Kernels& kernels : all_kernels()) {
    const bool supported = kernels.supported();
    if (supported && chosen.empty()) chosen = kernels.name;
    sets += fmt::format(" {}{}", kernels.name, supported ? "" : " (not on this processor)");
  }
  return fmt::format(
      "switchyard {}\n"
      "instruction sets:{}; chosen: {}\n"
      "built in: io_uring, MPI ({})\n"
      "compiler: {}\n",
      SWITCHYARD_VERSION, sets, chosen, mpi_name(), SWITCHYARD_COMPILER);
}

std::string build_name() {
  return fmt::format("switchyard {} by {}", SWITCHYARD_VERSION, SWITCHYARD_COMPILER);
}

}  // namespace switchyard
