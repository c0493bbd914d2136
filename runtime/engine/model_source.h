#pragma once

// A model on a drive: a Hugging Face folder as it lies, or a pack. Both give the same values and,
// once kernel-ready, the same bytes.

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "experts/expert_order.h"
#include "runtime/base/dtype.h"
#include "runtime/base/result.h"
#include "runtime/engine/model_spec.h"

namespace switchyard {

class ExpertSource;

// Bytes done so far; called from the loading thread after each piece.
using ByteProgress = std::function<void(uint64_t bytes_done)>;

// Small files of a folder by name, which need not be read from it again.
using GivenTexts = std::map<std::string, std::string, std::less<>>;

class ModelSource {
 public:
  virtual ~ModelSource() = default;

  // A folder or a pack file. kNoInput, kPermission, kConfig (another format, unknown family) or
  // kBadData.
  static Result<std::unique_ptr<ModelSource>> open(const std::string& path,
                                                   const GivenTexts& given = {});
  // What open() would be given to read none of a folder's small files. Nothing for a pack.
  GivenTexts small_texts() const;

  const ModelSpec& spec() const { return spec_; }
  // Another number of experts a token, for routing that is replayed.
  void set_top_k(uint32_t top_k) { spec_.moe.top_k = top_k; }
  virtual std::string_view kind() const = 0;  // "folder" or "pack"
  virtual const std::string& path() const = 0;
  // One line that changes when any file of the model does.
  virtual std::string fingerprint() const = 0;
  // 0 … E − 1 unless a pack says otherwise, or a file does.
  const ExpertOrder& expert_order() const { return expert_order_; }
  // From a file that `switchyard group` wrote; its errors name the file.
  Status read_expert_order(const std::string& path);

  // A small file that came with the model ("tokenizer.json", "generation_config.json", …), nothing
  // when there is none.
  virtual Result<std::optional<std::string>> text_file(std::string_view name) const = 0;

  // How a dense matrix [rows, cols] is stored. kBadData when missing or of another shape.
  virtual Result<DType> matrix_dtype(const std::string& name, uint32_t rows,
                                     uint32_t cols) const = 0;
  // Reads it kernel-ready into `out` (matrix_bytes() long) in bounded memory; NaN and infinities
  // are kBadData, as is a wrong checksum.
  virtual Status load_matrix(const std::string& name, uint32_t rows, uint32_t cols,
                             std::span<std::byte> out, const ByteProgress& progress) const = 0;
  // A vector as fp32, from any stored type.
  virtual Result<std::vector<float>> load_vector(const std::string& name, uint32_t n) const = 0;

  virtual const ExpertSource& experts() const = 0;

 protected:
  ModelSpec spec_;
  ExpertOrder expert_order_;
};

// Opening either kind; `open` above chooses.
Result<std::unique_ptr<ModelSource>> open_folder_model(const std::string& path,
                                                       const GivenTexts& given);
Result<std::unique_ptr<ModelSource>> open_pack_model(const std::string& path);

// What the volumes of a pack of `source` in its order, on so many volumes behind the first, know
// each other by.
std::string pack_id(const ModelSource& source, size_t more);

// Writes `source` as a pack (see storage/pack_writer.h for resuming and errors), its experts spread
// evenly over it and `more` volumes, best each on a drive of its own. `progress` gets bytes done
// and in all; returning false stops with kStopped, to be resumed.
using PackProgress = std::function<bool(uint64_t bytes_done, uint64_t bytes_all)>;
Status write_pack(const ModelSource& source, const std::string& path,
                  const std::vector<std::string>& more, const PackProgress& progress);

}  // namespace switchyard
