#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "runtime/base/file.h"
#include "runtime/base/result.h"

namespace switchyard {

// The error for a system call that failed on an output: kPermission or kIo, never a missing input;
// a full drive gets a hint.
[[nodiscard]] tl::unexpected<Error> fail_output(int error_number, const std::string& doing,
                                                const std::string& path);

// Opens `path` for reading and writing, creating it when it is not there.
Result<UniqueFd> open_output(const std::string& path, bool truncate);

// Writes all of `bytes` at the file's position; blocks.
Status write_output(int fd, std::span<const std::byte> bytes, const std::string& path);

// Flushes `partial` to the drive and gives it the name `path`.
Status name_output(int fd, const std::string& partial, const std::string& path);

// Makes what was named and removed in the folder of `path` durable. Some file systems refuse it;
// the names stand anyway.
void flush_folder(const std::string& path);

// Both: names the output durably.
Status publish_output(int fd, const std::string& partial, const std::string& path);

}  // namespace switchyard
