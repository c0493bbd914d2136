#pragma once

// Expected failures are values: Result<T> is a T or an Error. Bugs abort (see check.h).

#include <cstdint>
#include <string>
#include <tl/expected.hpp>
#include <utility>

namespace switchyard {

// The numbers are the program's exit codes.
enum class Code : uint8_t {
  kFailed = 1,        // none of the below
  kUsage = 2,         // the command line is wrong
  kBadData = 65,      // damaged or impossible input data
  kNoInput = 66,      // an input is missing
  kUnavailable = 69,  // a peer or service is not there
  kInternal = 70,     // a bug noticed in time to say so
  kNoMemory = 71,     // the budget or the machine is too small
  kIo = 74,           // a drive or an output failed
  kStopped = 75,      // stopped early, state saved
  kPermission = 77,   // not allowed
  kConfig = 78,       // a configuration this program does not compute
};

struct [[nodiscard]] Error {
  Code code = Code::kFailed;
  std::string what;   // what is wrong, with the offending value
  std::string where;  // file, tensor, layer, expert, rank; may be empty
  std::string hint;   // what would help; may be empty
};

// One line: "WHERE: WHAT; HINT". Control characters are escaped.
std::string to_line(const Error& error);

template <class T>
using Result = tl::expected<T, Error>;
using Status = Result<void>;

[[nodiscard]] inline tl::unexpected<Error> fail(Code code, std::string what, std::string where = {},
                                                std::string hint = {}) {
  return tl::unexpected<Error>(Error{code, std::move(what), std::move(where), std::move(hint)});
}

// The error for a failed system call: ENOENT is kNoInput, EACCES and EPERM kPermission, ENOMEM
// kNoMemory, anything else kIo. `doing` is a phrase such as "cannot open".
[[nodiscard]] tl::unexpected<Error> fail_errno(int error_number, const std::string& doing,
                                               std::string where);

}  // namespace switchyard

// Evaluates to the value of a Result, or returns its error from the enclosing function.
#define TRY(expression)                                                      \
  __extension__({                                                            \
    auto try_result_ = (expression);                                         \
    if (!try_result_) return tl::unexpected(std::move(try_result_).error()); \
    *std::move(try_result_);                                                 \
  })

// The same for a Status.
#define TRY_STATUS(expression)                                               \
  do {                                                                       \
    auto try_status_ = (expression);                                         \
    if (!try_status_) return tl::unexpected(std::move(try_status_).error()); \
  } while (false)
