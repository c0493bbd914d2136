#include "runtime/base/result.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace switchyard {

std::string to_line(const Error& error) {
  std::string line = error.where.empty() ? error.what : error.where + ": " + error.what;
  if (!error.hint.empty()) line += "; " + error.hint;
  std::string escaped;
  for (const char c : line) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f) {
      escaped += fmt::format("\\x{:02x}", byte);
    } else {
      escaped += c;
    }
  }
  return escaped;
}

tl::unexpected<Error> fail_errno(int error_number, const std::string& doing, std::string where) {
  Code code = Code::kIo;
  if (error_number == ENOENT || error_number == ENOTDIR) code = Code::kNoInput;
  if (error_number == EACCES || error_number == EPERM) code = Code::kPermission;
  if (error_number == ENOMEM) code = Code::kNoMemory;
  return fail(code, doing + ": " + std::strerror(error_number), std::move(where));
}

}  // namespace switchyard
