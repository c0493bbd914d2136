#pragma once

// The control groups this process is in, version 1 and 2.

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace switchyard {

struct CgroupFolder {
  std::string path;
  bool unified = false;  // version 2
};

// The folders that may limit `controller` ("memory", "cpu"), from the process's own up to the
// mount's root; those of version 1 and 2 alike. Empty where there are none. `root` is put before
// every path: "" for the machine's own, a folder in tests.
std::vector<CgroupFolder> cgroup_folders(const std::string& root, const std::string& controller);

// A number in a small file such as memory.max; nothing when it is missing or says "max".
std::optional<uint64_t> read_cgroup_number(const CgroupFolder& folder, const std::string& file);

// The value after "KEY " or "KEY: " at the start of a line of `text`.
std::optional<uint64_t> number_of_key(const std::string& text, const std::string& key);

// A small file's text; "" when it cannot be read.
std::string read_small_file(const std::string& path);

}  // namespace switchyard
