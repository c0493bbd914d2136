// What the project believes about its own source.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <regex>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr size_t kLinesMax = 500;

struct Layer {
  std::string_view folder;
  std::vector<std::string_view> may_include;
};

// Folders are layers and includes point down. The longest folder that holds a file is its layer.
const std::vector<Layer>& layers() {
  static const auto* list = new std::vector<Layer>{
      {"runtime/base", {}},
      {"runtime/device", {"runtime/base"}},
      {"runtime/kernels", {"runtime/base"}},
      {"storage", {"runtime/base"}},
      {"experts", {"storage", "runtime/kernels", "runtime/device", "runtime/base"}},
      {"comm", {"runtime/kernels", "runtime/base"}},
      {"scheduler", {"runtime/base"}},
      {"runtime/engine/tokenizer", {"runtime/base"}},
      {"runtime/engine",
       {"runtime/engine/tokenizer", "scheduler", "experts", "comm", "storage", "runtime/kernels",
        "runtime/device", "runtime/base"}},
      {"launch",
       {"runtime/engine", "runtime/engine/tokenizer", "scheduler", "experts", "comm", "storage",
        "runtime/kernels", "runtime/device", "runtime/base"}},
  };
  return *list;
}

const Layer* layer_of(std::string_view path) {
  const Layer* best = nullptr;
  for (const Layer& layer : layers()) {
    const bool inside = path.starts_with(layer.folder) && path.size() > layer.folder.size() &&
                        path[layer.folder.size()] == '/';
    if (inside && (best == nullptr || layer.folder.size() > best->folder.size())) best = &layer;
  }
  return best;
}

struct SourceFile {
  std::string path;  // from the project's root
  std::string text;

  bool ends_with(std::string_view suffix) const { return path.ends_with(suffix); }
  std::string folder() const { return fs::path(path).parent_path().string(); }
};

std::string read_file(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

// All of the project's own files of these kinds.
std::vector<SourceFile> read_files(const std::set<std::string>& extensions) {
  const fs::path root = SWITCHYARD_SOURCE_DIR;
  std::vector<SourceFile> files;
  for (const char* top : {"runtime", "storage", "experts", "comm", "scheduler", "launch", "tests",
                          "perf", "cmake", ".ci"}) {
    if (!fs::exists(root / top)) continue;
    for (const auto& entry : fs::recursive_directory_iterator(root / top)) {
      const std::string path = entry.path().lexically_relative(root).string();
      if (!entry.is_regular_file() || path.starts_with("tests/data")) continue;
      if (path.starts_with("tests/fuzz/corpus")) continue;
      if (extensions.contains(entry.path().extension().string())) {
        files.push_back({path, read_file(entry.path())});
      }
    }
  }
  return files;
}

const std::vector<SourceFile>& sources() {
  static const auto* files = new std::vector<SourceFile>(read_files({".h", ".cc"}));
  return *files;
}

std::vector<std::string> own_includes(const SourceFile& file) {
  static const std::regex kInclude("(?:^|\n)#include \"([^\"]+)\"");
  std::vector<std::string> paths;
  for (std::sregex_iterator at(file.text.begin(), file.text.end(), kInclude), end; at != end;
       ++at) {
    paths.push_back((*at)[1]);
  }
  return paths;
}

TEST(Tidy, SeesTheSources) { EXPECT_GT(sources().size(), 100U); }

TEST(Tidy, IncludesFollowTheLayers) {
  for (const SourceFile& file : sources()) {
    const Layer* layer = layer_of(file.path);
    if (layer == nullptr) continue;
    for (const std::string& included : own_includes(file)) {
      const Layer* other = layer_of(included);
      ASSERT_NE(other, nullptr) << file.path << " includes " << included;
      if (other == layer) continue;
      EXPECT_THAT(layer->may_include, testing::Contains(other->folder))
          << file.path << " includes " << included;
    }
  }
}

TEST(Tidy, IncludesAreWholePathsToFiles) {
  for (const SourceFile& file : sources()) {
    for (const std::string& included : own_includes(file)) {
      EXPECT_TRUE(fs::exists(fs::path(SWITCHYARD_SOURCE_DIR) / included))
          << file.path << " includes " << included;
    }
  }
}

TEST(Tidy, HeadersAreGuarded) {
  for (const SourceFile& file : sources()) {
    if (file.ends_with(".h")) {
      EXPECT_THAT(file.text, testing::HasSubstr("#pragma once\n")) << file.path;
    }
  }
}

TEST(Tidy, NoFileHoldsTwoIdeas) {
  for (const SourceFile& file : sources()) {
    const auto lines = std::count(file.text.begin(), file.text.end(), '\n');
    EXPECT_LE(static_cast<size_t>(lines), kLinesMax) << file.path;
  }
}

TEST(Tidy, EveryHeaderIsIncluded) {
  std::set<std::string> included;
  for (const SourceFile& file : sources()) {
    for (const std::string& path : own_includes(file)) included.insert(path);
  }
  for (const SourceFile& file : sources()) {
    if (!file.ends_with(".h")) continue;
    EXPECT_THAT(included, testing::Contains(file.path));
  }
}

// Whether the CMakeLists.txt of the file's folder, or of one above it, names the file.
bool is_built(const SourceFile& file) {
  const fs::path root = SWITCHYARD_SOURCE_DIR;
  for (fs::path folder = file.folder();; folder = folder.parent_path()) {
    const std::string lists = read_file(root / folder / "CMakeLists.txt");
    const std::string name = fs::path(file.path).lexically_relative(folder).string();
    if (lists.find(name) != std::string::npos) return true;
    if (folder.empty()) return false;
  }
}

TEST(Tidy, EverySourceIsBuilt) {
  const std::string tests = read_file(SWITCHYARD_SOURCE_DIR "/tests/CMakeLists.txt");
  const std::string fuzz = read_file(SWITCHYARD_SOURCE_DIR "/tests/fuzz/CMakeLists.txt");
  for (const SourceFile& file : sources()) {
    if (!file.ends_with(".cc")) continue;
    const std::string stem = fs::path(file.path).stem().string();
    if (file.ends_with("_test.cc")) {  // tests are globbed by folder
      const std::string folder = file.folder().substr(std::string("tests/").size());
      EXPECT_THAT(tests, testing::HasSubstr(" " + folder + " ")) << file.path;
    } else if (file.folder() == "tests/fuzz") {
      EXPECT_THAT(fuzz, testing::HasSubstr("(" + stem + " ")) << file.path;
    } else {
      EXPECT_TRUE(is_built(file)) << file.path;
    }
  }
}

// A path that only one machine has would break the others.
TEST(Tidy, NoPathOfOneMachine) {
  const std::regex kForeign("(^|[^A-Za-z0-9_.])/(work|root|home/(?!me/)[a-z]+|Users)/[A-Za-z0-9]");
  std::vector<SourceFile> files = read_files({".h", ".cc", ".txt", ".cmake", ".md", ""});
  for (const char* name : {"README.md", "CONTRIBUTING.md", "CMakeLists.txt", "CMakePresets.json"}) {
    files.push_back({name, read_file(fs::path(SWITCHYARD_SOURCE_DIR) / name)});
  }
  for (const SourceFile& file : files) {
    EXPECT_FALSE(std::regex_search(file.text, kForeign)) << file.path;
  }
}

// The text between the bracket at `open` and the one that closes it.
std::string_view bracketed(std::string_view text, size_t open) {
  size_t depth = 0;
  for (size_t at = open; at < text.size(); ++at) {
    if (text[at] == '(' || text[at] == '{') ++depth;
    if (text[at] == ')' || text[at] == '}') --depth;
    if (depth == 0) return text.substr(open + 1, at - open - 1);
  }
  return text.substr(open + 1);
}

// The calls that make an object on the heap with a TRY among the arguments.
std::vector<std::string> heap_objects_with_try(std::string_view text) {
  static const std::regex kMaker(
      R"((\bnew\s+[A-Za-z_][\w:]*(<[^;(){}]*>)?|\bmake_(unique|shared)\s*(<[^;(){}]*>)?)\s*[({])");
  std::vector<std::string> found;
  for (std::cregex_iterator at(text.data(), text.data() + text.size(), kMaker), end; at != end;
       ++at) {
    const auto open = static_cast<size_t>(at->position() + at->length() - 1);
    const std::string_view arguments = bracketed(text, open);
    if (arguments.find("TRY(") == std::string_view::npos) continue;
    found.push_back(at->str() + std::string(arguments));
  }
  return found;
}

// The return that TRY hides there leaks the storage under GCC.
TEST(Tidy, NoTryAmongTheArgumentsOfAHeapObject) {
  // '@' stands for it, or this file would break its own rule.
  const auto found = [](std::string text) {
    return heap_objects_with_try(std::regex_replace(text, std::regex("@"), "TRY("));
  };
  for (const char* bad : {"std::make_unique<A<B, C>>(\n  b, @f(1)))", "new A(@f()))",
                          "make_shared<a::B>(c(), {@d)})", "new std::pair<A, B>{@d), 1}"}) {
    EXPECT_THAT(found(bad), testing::SizeIs(1)) << bad;
  }
  EXPECT_THAT(found("a = @f(std::make_unique<A>(b), @c)));"), testing::IsEmpty());
  for (const SourceFile& file : sources()) {
    EXPECT_THAT(heap_objects_with_try(file.text), testing::IsEmpty()) << file.path;
  }
}

TEST(Tidy, TheReadmeShowsEveryCommand) {
  const std::string readme = read_file(SWITCHYARD_SOURCE_DIR "/README.md");
  const std::regex kCommand("return \\{\"([a-z]+)\", \"");
  size_t commands = 0;
  for (const SourceFile& file : sources()) {
    if (file.folder() != "launch/commands") continue;
    for (std::sregex_iterator at(file.text.begin(), file.text.end(), kCommand), end; at != end;
         ++at) {
      ++commands;
      EXPECT_THAT(readme, testing::HasSubstr("`" + (*at)[1].str())) << file.path;
    }
  }
  EXPECT_GE(commands, 8U);
}

}  // namespace
}  // namespace switchyard
