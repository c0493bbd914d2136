#pragma once

// Checkpoints in the safetensors format (https://github.com/huggingface/safetensors): 8 bytes of
// header length, a JSON header, then the tensors' bytes without holes.

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/base/result.h"
#include "storage/input_file.h"

namespace switchyard {

struct TensorInfo {
  std::string name;
  std::string dtype;  // as the file spells it: "BF16"
  std::vector<uint64_t> shape;
  uint64_t offset = 0;  // in bytes from the start of the file
  uint64_t bytes = 0;   // shape × dtype
  uint32_t file = 0;    // index for Checkpoint::file()
};

inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

// The tensors of one header, by ascending offset; `file` is 0. As strict as the reference library:
// known dtypes, no duplicate, overlap or hole, and the tensors end where the file ends. Else
// kBadData. `data_begin` is where the tensors' bytes start; `where` names the file in errors.
Result<std::vector<TensorInfo>> parse_safetensors_header(std::string_view header_json,
                                                         uint64_t data_begin, uint64_t file_bytes,
                                                         const std::string& where);

// Reads and parses the header of an open file. Errors as above, and those of reading.
Result<std::vector<TensorInfo>> read_safetensors_header(const InputFile& file);

struct ShardEntry {
  std::string tensor;
  std::string file;  // a plain name in the folder
};

// The weight_map of a model.safetensors.index.json, sorted by tensor. kBadData when it is none, or
// lists a tensor twice, or names a file outside the folder.
Result<std::vector<ShardEntry>> parse_safetensors_index(std::string_view json,
                                                        const std::string& where);

inline constexpr const char* kSafetensorsIndexName = "model.safetensors.index.json";

// All tensors of a Hugging Face folder. Immutable; any thread may use it.
class Checkpoint {
 public:
  // model.safetensors.index.json rules where it exists; else model.safetensors. kNoInput when
  // there is no checkpoint, kConfig for one in another format, kBadData for damage, kPermission.
  // `index`: that file's text, when it need not be read; null: it is read.
  static Result<Checkpoint> open(const std::string& folder, const std::string* index = nullptr);

  const std::string& folder() const { return folder_; }
  // Sorted by name. Tensors that an index does not list are left out.
  std::span<const TensorInfo> tensors() const { return tensors_; }
  // Null when there is none.
  const TensorInfo* find(std::string_view name) const;

  uint32_t file_count() const { return static_cast<uint32_t>(files_.size()); }
  const InputFile& file(uint32_t index) const { return *files_[index]; }

  // Fills `target` (tensor.bytes long) from the page cache or the drive; blocks.
  Status read(const TensorInfo& tensor, std::span<std::byte> target) const;
  // kBadData when a file was replaced or rewritten since open.
  Status unchanged() const;

 private:
  Status open_single(const std::string& path);
  Status open_sharded(const std::string& index_path, const std::string* index);

  std::string folder_;
  std::vector<std::shared_ptr<InputFile>> files_;
  std::vector<TensorInfo> tensors_;
};

}  // namespace switchyard
