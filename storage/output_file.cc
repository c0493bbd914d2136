#include "storage/output_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>

namespace switchyard {

tl::unexpected<Error> fail_output(int error_number, const std::string& doing,
                                  const std::string& path) {
  const bool denied = error_number == EACCES || error_number == EPERM || error_number == EROFS;
  std::string hint;
  if (error_number == ENOSPC || error_number == EDQUOT || error_number == EFBIG) {
    hint = "free space there (or raise the quota or file size limit) and run again";
  }
  if (error_number == ENOENT || error_number == ENOTDIR) hint = "create its folder first";
  return fail(denied ? Code::kPermission : Code::kIo, doing + ": " + std::strerror(error_number),
              path, hint);
}

Result<UniqueFd> open_output(const std::string& path, bool truncate) {
  const int flags = O_RDWR | O_CREAT | O_CLOEXEC | (truncate ? O_TRUNC : 0);
  UniqueFd fd(::open(path.c_str(), flags, 0644));
  if (!fd) return fail_output(errno, "cannot create", path);
  return fd;
}

Status write_output(int fd, std::span<const std::byte> bytes, const std::string& path) {
  while (!bytes.empty()) {
    const ssize_t put = ::write(fd, bytes.data(), bytes.size());
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) return fail_output(errno, "cannot write", path);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
  return {};
}

Status name_output(int fd, const std::string& partial, const std::string& path) {
  if (::fsync(fd) != 0) return fail_output(errno, "cannot flush", partial);
  const std::string target = TRY(output_target(path));
  if (::rename(partial.c_str(), target.c_str()) != 0) {
    return fail_output(errno, "cannot name", path);
  }
  return {};
}

void flush_folder(const std::string& path) {
  const std::filesystem::path folder = std::filesystem::path(path).parent_path();
  const UniqueFd folder_fd(
      ::open(folder.empty() ? "." : folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (folder_fd) ::fsync(folder_fd.get());
}

Status publish_output(int fd, const std::string& partial, const std::string& path) {
  TRY_STATUS(name_output(fd, partial, path));
  flush_folder(path);
  return {};
}

}  // namespace switchyard
