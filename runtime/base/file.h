#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/result.h"

namespace switchyard {

// Owns a file descriptor.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~UniqueFd();
  int get() const { return fd_; }
  explicit operator bool() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

// The whole regular file, or kBadData when it is longer than `bytes_max`. For small text files.
Result<std::string> read_text_file(const std::string& path, uint64_t bytes_max);

// Everything up to end of file; "-" is standard input.
Result<std::string> read_text_input(const std::string& path, uint64_t bytes_max);

// Where an output named `path` goes when it replaces what is there: links are followed. kIo when
// something else than a regular file bears the name, or the name is empty.
Result<std::string> output_target(const std::string& path);

// Writes `bytes` under a temporary name beside `path`, then renames: the file is whole or absent.
Status write_file_atomically(const std::string& path, std::string_view bytes);

bool is_utf8(std::string_view text);

}  // namespace switchyard
