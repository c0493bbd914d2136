#include "runtime/base/file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>

namespace switchyard {
namespace {

Result<std::string> read_all(int fd, const std::string& where, uint64_t bytes_max) {
  std::string text;
  constexpr size_t kStep = 1 << 16;
  while (true) {
    const size_t have = text.size();
    text.resize(have + kStep);
    const ssize_t got = ::read(fd, text.data() + have, kStep);
    if (got < 0 && errno == EINTR) {
      text.resize(have);
      continue;
    }
    if (got < 0) return fail_errno(errno, "cannot read", where);
    text.resize(have + static_cast<size_t>(got));
    if (text.size() > bytes_max) {
      return fail(Code::kBadData, fmt::format("longer than {} bytes", bytes_max), where);
    }
    if (got == 0) return text;
  }
}

Status write_all(int fd, std::string_view bytes, const std::string& where) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0)
      return fail(Code::kIo, fail_errno(errno, "cannot write", where).value().what, where);
    bytes.remove_prefix(static_cast<size_t>(put));
  }
  return {};
}

}  // namespace

UniqueFd::~UniqueFd() {
  if (fd_ >= 0) ::close(fd_);
}

Result<std::string> read_text_file(const std::string& path, uint64_t bytes_max) {
  // Not to wait for the other end of a pipe.
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd) return fail_errno(errno, "cannot open", path);
  struct stat status {};
  if (::fstat(fd.get(), &status) != 0) return fail_errno(errno, "cannot stat", path);
  if (!S_ISREG(status.st_mode)) return fail(Code::kNoInput, "is no regular file", path);
  return read_all(fd.get(), path, bytes_max);
}

Result<std::string> read_text_input(const std::string& path, uint64_t bytes_max) {
  if (path == "-") return read_all(STDIN_FILENO, "standard input", bytes_max);
  UniqueFd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail_errno(errno, "cannot open", path);
  return read_all(fd.get(), path, bytes_max);
}

Result<std::string> output_target(const std::string& path) {
  if (path.empty()) return fail(Code::kIo, "the name of an output is empty");
  std::error_code error;
  const auto status = std::filesystem::status(path, error);
  if (!std::filesystem::exists(status)) return path;
  if (!std::filesystem::is_regular_file(status)) {
    return fail(Code::kIo, "is no regular file and will not be replaced", path);
  }
  const auto target = std::filesystem::canonical(path, error);
  return error ? path : target.string();
}

Status write_file_atomically(const std::string& name, std::string_view bytes) {
  const std::string path = TRY(output_target(name));
  const std::string partial = fmt::format("{}.{}.partial", path, ::getpid());
  UniqueFd fd(::open(partial.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd) {
    const int error = errno;
    const Code code = error == EACCES || error == EPERM ? Code::kPermission : Code::kIo;
    return fail(code, fail_errno(error, "cannot create", path).value().what, path);
  }
  if (Status written = write_all(fd.get(), bytes, path); !written) {
    ::unlink(partial.c_str());
    return written;
  }
  if (::rename(partial.c_str(), path.c_str()) != 0) {
    const int error = errno;
    ::unlink(partial.c_str());
    return fail(Code::kIo, fail_errno(error, "cannot rename", path).value().what, path);
  }
  return {};
}

bool is_utf8(std::string_view text) {
  size_t i = 0;
  while (i < text.size()) {
    const auto lead = static_cast<unsigned char>(text[i]);
    const size_t length = lead < 0x80   ? 1
                          : lead < 0xc2 ? 0
                          : lead < 0xe0 ? 2
                          : lead < 0xf0 ? 3
                          : lead < 0xf5 ? 4
                                        : 0;
    if (length == 0 || i + length > text.size()) return false;
    for (size_t j = 1; j < length; ++j) {
      if ((static_cast<unsigned char>(text[i + j]) & 0xc0) != 0x80) return false;
    }
    const auto second = length > 1 ? static_cast<unsigned char>(text[i + 1]) : 0;
    if (lead == 0xe0 && second < 0xa0) return false;  // overlong
    if (lead == 0xed && second > 0x9f) return false;  // surrogate
    if (lead == 0xf0 && second < 0x90) return false;  // overlong
    if (lead == 0xf4 && second > 0x8f) return false;  // above U+10FFFF
    i += length;
  }
  return true;
}

}  // namespace switchyard
