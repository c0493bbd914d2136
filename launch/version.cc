#include "launch/version.h"

#include <fmt/format.h>

#include "runtime/kernels/kernel_table.h"

namespace switchyard {

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
      "built in: io_uring; not built in: MPI, CUDA\n"
      "compiler: {}\n",
      SWITCHYARD_VERSION, sets, chosen, SWITCHYARD_COMPILER);
}

std::string build_name() {
  return fmt::format("switchyard {} by {}", SWITCHYARD_VERSION, SWITCHYARD_COMPILER);
}

}  // namespace switchyard
