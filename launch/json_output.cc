#include "launch/json_output.h"

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <ostream>
#include <string_view>

#include "runtime/base/file.h"

namespace switchyard {
namespace {

// A link, a pipe or a device stays what it is: it is written to, not replaced by a renamed file.
bool is_special(const std::string& path) {
  std::error_code ignored;
  if (std::filesystem::is_symlink(path, ignored)) return true;
  const auto status = std::filesystem::status(path, ignored);
  return std::filesystem::exists(status) && !std::filesystem::is_regular_file(status) &&
         !std::filesystem::is_directory(status);
}

std::string dumped(const Json& value, int indent) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace);
}

// A file of ours begins with one of `firsts`.
Status check_target(const std::string& path, std::string_view firsts, const char* kind) {
  if (path.empty()) return fail(Code::kIo, "the name of the file is empty", kind);
  if (is_special(path)) return {};
  std::error_code ignored;
  if (std::filesystem::is_directory(path, ignored)) {
    return fail(Code::kIo, "is a folder", path, "name a file");
  }
  std::ifstream there(path);
  char first = 0;
  if (there >> first && firsts.find(first) == std::string_view::npos) {
    return fail(Code::kIo, std::string("exists and is no ") + kind, path,
                "remove it first or name another file");
  }
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  const std::string folder = parent.empty() ? std::filesystem::path(".").string() : parent.string();
  if (::access(folder.c_str(), W_OK | X_OK) == 0) return {};
  Error error = fail_errno(errno, "cannot create a file here", folder).value();
  if (error.code != Code::kPermission) error.code = Code::kIo;
  return tl::unexpected(error);
}

}  // namespace

Status check_json_target(const std::string& path) {
  if (path == "-") return {};
  return check_target(path, "{[", "JSON");
}

Status check_html_target(const std::string& path) { return check_target(path, "<", "HTML"); }

Status write_json(const std::string& path, const Json& value, Console& console) {
  const std::string text = dumped(value, 2) + "\n";
  if (path == "-") {
    console.out << text << std::flush;
    return {};
  }
  if (!is_special(path)) return write_file_atomically(path, text);
  std::ofstream file(path);
  file << text << std::flush;
  if (!file) return fail(Code::kIo, "cannot write", path);
  return {};
}

std::string json_line(const Json& value) { return dumped(value, -1); }

}  // namespace switchyard
