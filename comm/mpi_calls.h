#pragma once

// <mpi.h> without its C++ bindings, and its error codes as Status. For the communication thread.

#define OMPI_SKIP_MPICXX 1  // NOLINT
#include <mpi.h>

#include <array>
#include <string>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

inline std::string mpi_error_text(int code) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  if (MPI_Error_string(code, text.data(), &length) != MPI_SUCCESS) return "unknown error";
  return {text.data(), static_cast<size_t>(length)};
}

// kUnavailable: "MPI_Isend: MPI_ERR_COMM: invalid communicator".
inline Status check_mpi(int code, std::string_view call, std::string where = {}) {
  if (code == MPI_SUCCESS) return {};
  return fail(Code::kUnavailable, std::string(call) + ": " + mpi_error_text(code),
              std::move(where));
}

}  // namespace switchyard
