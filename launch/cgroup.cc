#include "launch/cgroup.h"

#include <charconv>
#include <filesystem>
#include <sstream>
#include <string_view>

#include "runtime/base/file.h"

namespace switchyard {
namespace {

constexpr uint64_t kSmallFileBytesMax = 1 << 20;

struct Membership {
  std::string controllers;  // "" for version 2
  std::string path;
};

std::vector<Membership> memberships(const std::string& root) {
  std::vector<Membership> result;
  std::istringstream lines(read_small_file(root + "/proc/self/cgroup"));
  for (std::string line; std::getline(lines, line);) {
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    result.push_back({line.substr(first + 1, second - first - 1), line.substr(second + 1)});
  }
  return result;
}

bool lists(const std::string& controllers, const std::string& wanted) {
  std::istringstream names(controllers);
  for (std::string name; std::getline(names, name, ',');) {
    if (name == wanted) return true;
  }
  return false;
}

// `mount` + `path` and every folder above it down to `mount` itself. Inside a container the path
// may be the host's: then only the mount's root exists, and that is the container's own group.
void add_folders(const std::string& mount, std::string path, bool unified,
                 std::vector<CgroupFolder>& out) {
  std::error_code ignored;
  if (!std::filesystem::is_directory(mount, ignored)) return;
  while (path.size() > 1) {
    if (path.find("..") == std::string::npos &&
        std::filesystem::is_directory(mount + path, ignored)) {
      out.push_back({mount + path, unified});
    }
    path.resize(path.rfind('/') == std::string::npos ? 0 : path.rfind('/'));
  }
  out.push_back({mount, unified});
}

std::optional<uint64_t> leading_number(std::string_view text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

}  // namespace

std::vector<CgroupFolder> cgroup_folders(const std::string& root, const std::string& controller) {
  std::vector<CgroupFolder> folders;
  const std::string base = root + "/sys/fs/cgroup";
  for (const Membership& group : memberships(root)) {
    if (group.controllers.empty()) {
      const bool hybrid = std::filesystem::exists(base + "/unified");
      add_folders(hybrid ? base + "/unified" : base, group.path, true, folders);
    } else if (lists(group.controllers, controller)) {
      const bool combined = std::filesystem::exists(base + "/" + group.controllers);
      add_folders(base + "/" + (combined ? group.controllers : controller), group.path, false,
                  folders);
    }
  }
  return folders;
}

std::optional<uint64_t> read_cgroup_number(const CgroupFolder& folder, const std::string& file) {
  return leading_number(read_small_file(folder.path + "/" + file));
}

std::optional<uint64_t> number_of_key(const std::string& text, const std::string& key) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(key)) continue;
    const std::string_view rest = std::string_view(line).substr(key.size());
    if (!rest.starts_with(' ') && !rest.starts_with(':')) continue;
    const size_t digit = rest.find_first_of("0123456789");
    if (digit == std::string_view::npos) continue;
    return leading_number(rest.substr(digit));
  }
  return std::nullopt;
}

std::string read_small_file(const std::string& path) {
  return read_text_file(path, kSmallFileBytesMax).value_or(std::string());
}

}  // namespace switchyard
