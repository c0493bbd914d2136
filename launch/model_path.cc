#include "launch/model_path.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <vector>

#include "runtime/base/file.h"
#include "runtime/base/process.h"
#include "storage/pack_reader.h"

namespace switchyard {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNameBytesMax = 96;  // of one part
constexpr size_t kRevisionPartsMax = 8;
constexpr size_t kPrefixBytesMin = 4;  // of a shortened commit hash
constexpr size_t kShownMax = 8;

bool is_name(std::string_view text) {
  const auto plain = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
           c == '_' || c == '.';
  };
  return !text.empty() && text.size() <= kNameBytesMax && text != "." &&
         text.find("..") == std::string_view::npos && std::all_of(text.begin(), text.end(), plain);
}

// "main", "v1.0", "refs/pr/3".
bool is_revision(std::string_view text) {
  for (size_t parts = 0; parts < kRevisionPartsMax; ++parts) {
    const size_t slash = text.find('/');
    if (!is_name(text.substr(0, slash))) return false;
    if (slash == std::string_view::npos) return true;
    text.remove_prefix(slash + 1);
  }
  return false;
}

bool is_hash_like(std::string_view text) {
  return text.size() >= kPrefixBytesMin &&
         text.find_first_not_of("0123456789abcdef") == std::string_view::npos;
}

std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end;
       entry.increment(error)) {
    names.push_back(entry->path().filename().string());
  }
  std::sort(names.begin(), names.end());
  return names;
}

std::string listed(const std::vector<std::string>& names) {
  const size_t shown = std::min(names.size(), kShownMax);
  const std::vector<std::string> first(names.begin(),
                                       names.begin() + static_cast<ptrdiff_t>(shown));
  return fmt::format("{}{}", fmt::join(first, ", "), shown < names.size() ? " …" : "");
}

std::vector<std::string> ref_names(const std::string& repository) {
  std::vector<std::string> names;
  const fs::path root = repository + "/refs";
  std::error_code error;
  for (fs::recursive_directory_iterator entry(root, error), end; !error && entry != end;
       entry.increment(error)) {
    if (entry->is_regular_file(error)) {
      names.push_back(entry->path().lexically_relative(root).string());
    }
  }
  std::sort(names.begin(), names.end());
  return names;
}

tl::unexpected<Error> fail_no_revision(const std::string& repository, const HubName& name) {
  std::vector<std::string> known = ref_names(repository);
  for (const std::string& hash : names_in(repository + "/snapshots")) {
    known.push_back(hash.substr(0, 12));
  }
  return fail(
      Code::kNoInput, fmt::format("has no revision '{}'", name.revision), repository,
      known.empty() ? "the cache holds none of it" : fmt::format("there are {}", listed(known)));
}

// The commit a ref points to.
Result<std::optional<std::string>> read_ref(const std::string& repository,
                                            const std::string& revision) {
  const std::string path = repository + "/refs/" + revision;
  std::error_code ignored;
  if (!fs::is_regular_file(path, ignored)) return std::nullopt;
  std::string hash = TRY(read_text_file(path, 1024));
  while (!hash.empty() && (hash.back() == '\n' || hash.back() == '\r' || hash.back() == ' ')) {
    hash.pop_back();
  }
  if (!is_name(hash)) return fail(Code::kBadData, "holds no commit", path);
  return hash;
}

Result<std::string> find_commit(const std::string& repository, const HubName& name) {
  if (const auto hash = TRY(read_ref(repository, name.revision))) return *hash;
  if (!is_hash_like(name.revision)) return fail_no_revision(repository, name);
  std::vector<std::string> matching;
  for (const std::string& hash : names_in(repository + "/snapshots")) {
    if (hash == name.revision) return hash;
    if (hash.starts_with(name.revision)) matching.push_back(hash);
  }
  if (matching.empty()) return fail_no_revision(repository, name);
  if (matching.size() > 1) {
    return fail(Code::kUsage, fmt::format("'{}' is the beginning of several", name.revision),
                repository, fmt::format("write more of one of {}", listed(matching)));
  }
  return matching.front();
}

Result<std::string> find_in_hub(const std::string& model, const HubName& name,
                                const std::string& hub) {
  const std::string repository =
      fmt::format("{}/models--{}--{}", hub, name.organisation, name.name);
  std::error_code error;
  if (!fs::is_directory(repository, error)) {
    if (error == std::errc::permission_denied) {
      return fail_errno(EACCES, "cannot open", repository);
    }
    return fail(Code::kNoInput, "is neither a path nor in the local HF cache", model,
                fmt::format("looked in {}; nothing is downloaded", hub));
  }
  const std::string commit = TRY(find_commit(repository, name));
  const std::string snapshot = repository + "/snapshots/" + commit;
  if (!fs::is_directory(snapshot, error)) {
    return fail(Code::kNoInput,
                fmt::format("the snapshot that '{}' names is missing", name.revision), snapshot,
                "download it again");
  }
  return snapshot;
}

bool begins_like_gguf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  char magic[4] = {};
  return file.read(magic, sizeof magic) && std::string_view(magic, sizeof magic) == "GGUF";
}

// What is there but is no model: a GGUF, a folder with nothing else to read, any other file.
Status check_kind(const std::string& path) {
  const std::string hint = "give the model's safetensors folder";
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) {
    if (!fs::is_regular_file(path, ignored)) {
      return fail(Code::kNoInput, "is neither a folder nor a regular file", path, hint);
    }
    if (path.ends_with(".gguf") || begins_like_gguf(path)) {
      return fail(Code::kConfig, "GGUF files are not read", path, hint);
    }
    // A file that cannot be read is left to whoever opens it.
    if (::access(path.c_str(), R_OK) != 0 || looks_like_pack(path)) return {};
    return fail(Code::kBadData, "is neither a model's folder nor a pack", path);
  }
  std::string gguf;
  for (const std::string& name : names_in(path)) {
    if (name.ends_with(".gguf")) gguf = name;
    if (name == "config.json" || name == "tokenizer.json") return {};
  }
  if (gguf.empty()) return {};
  return fail(Code::kConfig, "GGUF files are not read", path + "/" + gguf, hint);
}

}  // namespace

HubEnvironment HubEnvironment::of_process() {
  return {environment("HF_HUB_CACHE"), environment("HF_HOME"), environment("XDG_CACHE_HOME"),
          environment("HOME")};
}

std::optional<std::string> HubEnvironment::hub_folder() const {
  const auto expanded = [this](const std::string& path) {
    return path.starts_with("~/") && home ? *home + path.substr(1) : path;
  };
  if (hf_hub_cache) return expanded(*hf_hub_cache);
  if (hf_home) return expanded(*hf_home) + "/hub";
  if (xdg_cache_home) return expanded(*xdg_cache_home) + "/huggingface/hub";
  if (home) return *home + "/.cache/huggingface/hub";
  return std::nullopt;
}

std::optional<HubName> parse_hub_name(std::string_view text) {
  HubName result{{}, {}, "main"};
  if (const size_t at = text.find('@'); at != std::string_view::npos) {
    result.revision = text.substr(at + 1);
    text = text.substr(0, at);
  }
  const size_t slash = text.find('/');
  if (slash == std::string_view::npos) return std::nullopt;
  result.organisation = text.substr(0, slash);
  result.name = text.substr(slash + 1);
  const bool good = is_name(result.organisation) && is_name(result.name) &&
                    text.find("--") == std::string_view::npos && is_revision(result.revision);
  if (!good) return std::nullopt;
  return result;
}

Result<std::string> resolve_model(const std::string& model, const HubEnvironment& environment) {
  struct stat status {};
  if (::stat(model.c_str(), &status) == 0) {
    TRY_STATUS(check_kind(model));
    return model;
  }
  if (errno != ENOENT && errno != ENOTDIR) return fail_errno(errno, "cannot open", model);
  const auto name = parse_hub_name(model);
  if (!name) {
    return fail(Code::kNoInput, "no such file or folder", model,
                "MODEL is a folder, a pack, or ORG/NAME[@REV] in the local HF cache");
  }
  const auto hub = environment.hub_folder();
  if (!hub) {
    return fail(Code::kNoInput, "no such file or folder", model,
                "to look it up in the HF cache set HF_HOME");
  }
  const std::string snapshot = TRY(find_in_hub(model, *name, *hub));
  TRY_STATUS(check_kind(snapshot));
  return snapshot;
}

}  // namespace switchyard
