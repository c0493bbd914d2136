#pragma once

#include <stdlib.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace switchyard {

// A folder of files that goes away with this.
class FakeTree {
 public:
  FakeTree() {
    std::string name = (std::filesystem::temp_directory_path() / "switchyard-XXXXXX").string();
    root_ = ::mkdtemp(name.data());
  }
  ~FakeTree() {
    std::error_code ignored;
    std::filesystem::remove_all(root_, ignored);
  }
  FakeTree(const FakeTree&) = delete;

  std::string path(const std::string& name = {}) const {
    return name.empty() ? root_ : root_ + "/" + name;
  }
  void file(const std::string& name, const std::string& text) const {
    std::filesystem::create_directories(std::filesystem::path(path(name)).parent_path());
    std::ofstream(path(name)) << text;
  }
  void folder(const std::string& name) const { std::filesystem::create_directories(path(name)); }

 private:
  std::string root_;
};

}  // namespace switchyard
