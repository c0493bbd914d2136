#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>

#include "runtime/base/check.h"
#include "runtime/base/file.h"
#include "storage/safetensors.h"

namespace switchyard {
namespace {

constexpr const char* kIndexName = kSafetensorsIndexName;
constexpr const char* kSingleName = "model.safetensors";

void sort_by_name(std::vector<TensorInfo>& tensors) {
  const auto before = [](const TensorInfo& a, const TensorInfo& b) { return a.name < b.name; };
  if (std::is_sorted(tensors.begin(), tensors.end(), before)) return;
  std::sort(tensors.begin(), tensors.end(), before);
}

bool by_name(const TensorInfo& tensor, std::string_view name) { return tensor.name < name; }

bool begins_like_gguf(const std::string& path) {
  const auto file = InputFile::open(path);
  char magic[4] = {};
  return file && (*file)->read(0, std::as_writable_bytes(std::span(magic))) &&
         std::string_view(magic, 4) == "GGUF";
}

tl::unexpected<Error> fail_gguf(const std::string& path) {
  return fail(Code::kConfig, "GGUF files are not read", path,
              "use the model's Hugging Face folder with safetensors");
}

// Names in `folder`, sorted, so that errors do not depend on the file system.
Result<std::vector<std::string>> list_folder(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> names;
  std::filesystem::directory_iterator it(folder, error);
  for (; !error && it != std::filesystem::directory_iterator(); it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return fail_errno(error.value(), "cannot list", folder);
  std::sort(names.begin(), names.end());
  return names;
}

// Neither an index nor model.safetensors: says what is there instead.
tl::unexpected<Error> fail_no_checkpoint(const std::string& folder,
                                         const std::vector<std::string>& names) {
  const auto first_ending = [&](std::string_view suffix) {
    const auto it = std::find_if(names.begin(), names.end(),
                                 [&](const std::string& name) { return name.ends_with(suffix); });
    return it == names.end() ? std::string() : *it;
  };
  if (const std::string name = first_ending(".safetensors"); !name.empty()) {
    return fail(Code::kNoInput,
                fmt::format("has {} but neither {} nor {}", name, kSingleName, kIndexName), folder,
                fmt::format("fetch {}, or rename a single file to {}", kIndexName, kSingleName));
  }
  if (const std::string name = first_ending(".gguf"); !name.empty()) {
    return fail_gguf(folder + "/" + name);
  }
  for (const char* suffix : {".bin", ".pt", ".pth"}) {
    if (const std::string name = first_ending(suffix); !name.empty()) {
      return fail(Code::kConfig, fmt::format("PyTorch files ({}) are not read", name), folder,
                  "fetch or convert to safetensors");
    }
  }
  return fail(Code::kNoInput, fmt::format("holds no {}", kSingleName), folder,
              "name the folder of a Hugging Face checkpoint");
}

}  // namespace

Result<Checkpoint> Checkpoint::open(const std::string& folder, const std::string* index) {
  std::error_code error;
  if (std::filesystem::is_regular_file(folder, error)) {
    if (begins_like_gguf(folder)) return fail_gguf(folder);
    return fail(Code::kNoInput, "is a file, not a checkpoint's folder", folder,
                "name the folder it lies in");
  }
  const std::vector<std::string> names = TRY(list_folder(folder));
  Checkpoint checkpoint;
  checkpoint.folder_ = folder;
  const std::string index_path = folder + "/" + kIndexName;
  const std::string single_path = folder + "/" + kSingleName;
  if (std::binary_search(names.begin(), names.end(), kIndexName)) {
    TRY_STATUS(checkpoint.open_sharded(index_path, index));
  } else if (std::binary_search(names.begin(), names.end(), kSingleName)) {
    TRY_STATUS(checkpoint.open_single(single_path));
  } else {
    return fail_no_checkpoint(folder, names);
  }
  return checkpoint;
}

Status Checkpoint::open_single(const std::string& path) {
  files_.push_back(TRY(InputFile::open(path)));
  tensors_ = TRY(read_safetensors_header(*files_[0]));
  sort_by_name(tensors_);
  return {};
}

Status Checkpoint::open_sharded(const std::string& index_path, const std::string* index) {
  const std::string json =
      index != nullptr ? *index : TRY(read_text_file(index_path, kSafetensorsHeaderBytesMax));
  const std::vector<ShardEntry> entries = TRY(parse_safetensors_index(json, index_path));
  std::map<std::string_view, std::vector<std::string_view>> tensors_by_file;
  for (const ShardEntry& entry : entries) tensors_by_file[entry.file].push_back(entry.tensor);

  for (const auto& [name, listed] : tensors_by_file) {
    const std::string path = folder_ + "/" + std::string(name);
    auto file = InputFile::open(path);
    if (!file) {
      Error error = std::move(file).error();
      error.what += fmt::format(", a shard that {} lists", kIndexName);
      return tl::unexpected(std::move(error));
    }
    std::vector<TensorInfo> shard = TRY(read_safetensors_header(**file));
    sort_by_name(shard);
    auto it = shard.begin();
    for (const std::string_view tensor : listed) {  // both are sorted
      it = std::lower_bound(it, shard.end(), tensor, by_name);
      if (it == shard.end() || it->name != tensor) {
        return fail(Code::kBadData,
                    fmt::format("holds no tensor {}, which {} lists", tensor, kIndexName), path,
                    "fetch the checkpoint again");
      }
      tensors_.push_back(std::move(*it++));
      tensors_.back().file = file_count();
    }
    files_.push_back(*std::move(file));
  }
  sort_by_name(tensors_);
  return {};
}

const TensorInfo* Checkpoint::find(std::string_view name) const {
  const auto it = std::lower_bound(tensors_.begin(), tensors_.end(), name, by_name);
  return it != tensors_.end() && it->name == name ? &*it : nullptr;
}

Status Checkpoint::read(const TensorInfo& tensor, std::span<std::byte> target) const {
  CHECK_THAT(target.size() == tensor.bytes, "{} for {}", target.size(), tensor.bytes);
  Status status = files_[tensor.file]->read(tensor.offset, target);
  if (!status) status.error().what = fmt::format("tensor {}: {}", tensor.name, status.error().what);
  return status;
}

Status Checkpoint::unchanged() const {
  for (const auto& file : files_) TRY_STATUS(file->unchanged());
  return {};
}

}  // namespace switchyard
