#include "storage/input_file.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "runtime/base/align.h"

namespace switchyard {
namespace {

FileIdentity identity_of(const struct stat& status) {
  return {status.st_dev, status.st_ino, static_cast<uint64_t>(status.st_size),
          status.st_mtim.tv_sec * int64_t{1'000'000'000} + status.st_mtim.tv_nsec};
}

// Some file systems take O_DIRECT and then refuse to read with it: 0, or errno of a first read.
int try_direct_read(int fd) {
  alignas(kPageBytes) std::byte page[kPageBytes];
  return ::pread(fd, page, sizeof page, 0) < 0 ? errno : 0;
}

}  // namespace

Result<std::shared_ptr<InputFile>> InputFile::open(const std::string& path) {
  std::shared_ptr<InputFile> file(new InputFile);
  file->path_ = path;
  // With O_NONBLOCK opening a FIFO does not wait for a writer; left on, it would keep io_uring from
  // waiting for the drive.
  file->fd_ = UniqueFd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file->fd_) return fail_errno(errno, "cannot open", path);
  struct stat status {};
  if (::fstat(file->fd(), &status) != 0) return fail_errno(errno, "cannot stat", path);
  if (!S_ISREG(status.st_mode)) return fail(Code::kBadData, "is not a regular file", path);
  if (::fcntl(file->fd(), F_SETFL, 0) != 0) return fail_errno(errno, "cannot open", path);
  file->identity_ = identity_of(status);
  TRY_STATUS(file->open_direct());
  return file;
}

Result<std::shared_ptr<InputFile>> InputFile::open_unnamed(const std::string& path,
                                                           std::string called) {
  auto file = open(path);
  if (file) {
    (*file)->path_ = std::move(called);
  } else {
    file.error().where = std::move(called);
  }
  return file;
}

Status InputFile::open_direct() {
  UniqueFd direct(::open(path_.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT));
  const int error = direct ? try_direct_read(direct.get()) : errno;
  if (error == EINVAL || error == EOPNOTSUPP) {
    direct_refusal_ = "its file system has no O_DIRECT";
    return {};
  }
  if (error != 0) return fail_errno(error, "cannot open", path_);
  struct stat status {};
  if (::fstat(direct.get(), &status) != 0 || identity_of(status) != identity_) {
    return fail(Code::kBadData, "changed while it was opened", path_, "run again");
  }
  direct_fd_ = std::move(direct);
  return {};
}

Status InputFile::read(uint64_t offset, std::span<std::byte> target) const {
  while (!target.empty()) {
    const ssize_t got = ::pread(fd(), target.data(), target.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) {
      return fail(Code::kIo, fmt::format("cannot read at {}: {}", offset, std::strerror(errno)),
                  path_, "check the drive");
    }
    if (got == 0) {
      return fail(Code::kBadData,
                  fmt::format("truncated: {} bytes missing at {}", target.size(), offset), path_,
                  "fetch it again");
    }
    target = target.subspan(static_cast<size_t>(got));
    offset += static_cast<uint64_t>(got);
  }
  return {};
}

Status InputFile::unchanged() const {
  struct stat status {};
  if (::fstat(fd(), &status) != 0) return fail_errno(errno, "cannot stat", path_);
  const FileIdentity open_now = identity_of(status);
  const std::string hint = "leave it alone while it is in use and run again";
  if (open_now.size_bytes < identity_.size_bytes) {
    return fail(Code::kBadData,
                fmt::format("truncated while open, from {} to {} bytes", identity_.size_bytes,
                            open_now.size_bytes),
                path_, hint);
  }
  if (open_now != identity_) return fail(Code::kBadData, "rewritten while open", path_, hint);
  if (::stat(path_.c_str(), &status) != 0) {
    return fail(Code::kBadData, fmt::format("gone while open: {}", std::strerror(errno)), path_,
                hint);
  }
  if (identity_of(status) != identity_) {
    return fail(Code::kBadData, "replaced while open", path_, hint);
  }
  return {};
}

}  // namespace switchyard
