#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "runtime/base/file.h"
#include "runtime/base/result.h"

namespace switchyard {

// What tells a file from the one that replaces it.
struct FileIdentity {
  uint64_t device = 0;
  uint64_t inode = 0;
  uint64_t size_bytes = 0;
  int64_t modified_ns = 0;
  bool operator==(const FileIdentity&) const = default;
};

// A regular file open for reading, through the page cache and, where the file system allows it,
// past it (O_DIRECT). Immutable after open: any thread may use it.
class InputFile {
 public:
  // kNoInput, kPermission or kIo; kBadData when `path` is no regular file.
  static Result<std::shared_ptr<InputFile>> open(const std::string& path);
  // One that has no name of its own, or none for long: `called` stands for it in errors.
  static Result<std::shared_ptr<InputFile>> open_unnamed(const std::string& path,
                                                         std::string called);

  // Or what it is called.
  const std::string& path() const { return path_; }
  uint64_t size_bytes() const { return identity_.size_bytes; }
  const FileIdentity& identity() const { return identity_; }

  int fd() const { return fd_.get(); }
  // −1 where O_DIRECT was refused; direct_refusal() then has the reason in a few words.
  int direct_fd() const { return direct_fd_.get(); }
  const std::string& direct_refusal() const { return direct_refusal_; }

  // Fills `target` from `offset` through the page cache; blocks. kBadData when the file ends
  // before, kIo when the drive fails.
  Status read(uint64_t offset, std::span<std::byte> target) const;

  // kBadData when the file was truncated or rewritten since open, or another one bears its name.
  // Not for one without.
  Status unchanged() const;

 private:
  InputFile() = default;
  Status open_direct();

  std::string path_;
  FileIdentity identity_;
  UniqueFd fd_;
  UniqueFd direct_fd_;
  std::string direct_refusal_;
};

}  // namespace switchyard
