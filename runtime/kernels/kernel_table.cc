#include "runtime/kernels/kernel_table.h"

#include <cpuid.h>
#include <fmt/format.h>

#include <array>
#include <string>

#include "runtime/kernels/kernel_rows.h"

namespace switchyard {
namespace {

// __builtin_cpu_supports of older compilers does not know the name.
bool has_f16c() {
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid(1, &a, &b, &c, &d) != 0 && (c & bit_F16C) != 0;
}

}  // namespace

bool avx512_supported() {
  return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         avx2_supported();
}

bool avx2_supported() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
}

bool scalar_supported() { return true; }

std::span<const Kernels> all_kernels() {
  static const std::array<Kernels, 3> kRows = {kAvx512Kernels, kAvx2Kernels, kScalarKernels};
  return kRows;
}

Result<const Kernels*> select_kernels(std::string_view forced) {
  std::string names;
  for (const Kernels& kernels : all_kernels()) {
    const bool wanted = forced.empty() || forced == kernels.name;
    if (wanted && kernels.supported()) return &kernels;
    if (wanted && !forced.empty()) {
      return fail(Code::kConfig, fmt::format("this processor has no {}", forced), "--isa",
                  "leave it out to take the best there is");
    }
    names += names.empty() ? kernels.name : fmt::format(", {}", kernels.name);
  }
  return fail(Code::kUsage, fmt::format("there is no instruction set \"{}\"", forced), "--isa",
              fmt::format("one of {}", names));
}

}  // namespace switchyard
