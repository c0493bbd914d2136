#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "experts/folder_source.h"
#include "runtime/base/file.h"
#include "runtime/base/hash.h"
#include "runtime/engine/model_source.h"
#include "runtime/engine/pack_names.h"
#include "runtime/kernels/matrix.h"
#include "storage/safetensors.h"

namespace switchyard {
namespace {

constexpr uint64_t kTextFileBytesMax = 256 << 20;
constexpr size_t kPieceBytes = 1 << 20;  // of a matrix read at once

std::optional<DType> stored_dtype(std::string_view name) {
  for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
    if (name == dtype_name(dtype)) return dtype;
  }
  return std::nullopt;
}

std::string shape_text(std::span<const uint64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

class FolderModel final : public ModelSource {
 public:
  static Result<std::unique_ptr<ModelSource>> open(const std::string& path,
                                                   const GivenTexts& given) {
    auto model = std::make_unique<FolderModel>();
    model->path_ = path;
    model->given_ = given;
    const std::string config_path = path + "/config.json";
    const auto config = given.find("config.json");
    model->spec_ = TRY(parse_model_spec(config != given.end()
                                            ? config->second
                                            : TRY(read_text_file(config_path, kTextFileBytesMax)),
                                        config_path));
    const auto index = given.find(kSafetensorsIndexName);
    model->checkpoint_.emplace(
        TRY(Checkpoint::open(path, index != given.end() ? &index->second : nullptr)));
    const ModelSpec& spec = model->spec_;
    model->expert_order_ = plain_order(spec.sparse_layers(), spec.moe.experts);
    model->experts_ =
        TRY(make_folder_source(*model->checkpoint_, spec.hidden, spec.moe.intermediate,
                               spec.expert_keys(model->expert_order_), [&spec](ExpertKey key) {
                                 return spec.expert_names(key.layer, key.expert);
                               }));
    return model;
  }

  std::string_view kind() const override { return "folder"; }
  const std::string& path() const override { return path_; }
  const ExpertSource& experts() const override { return *experts_; }

  std::string fingerprint() const override {
    Hasher hasher;
    const auto add = [&](std::string_view text) { hasher.update(std::as_bytes(std::span(text))); };
    for (const std::string_view name : kPackTextFiles) {
      const auto text = text_file(name);
      add(fmt::format("{} {};", name, text && *text ? (*text)->size() + 1 : 0));
      if (text && *text) add(**text);
    }
    for (uint32_t i = 0; i < checkpoint_->file_count(); ++i) {
      const InputFile& file = checkpoint_->file(i);
      add(fmt::format("{} {} {};", file.path(), file.size_bytes(), file.identity().modified_ns));
    }
    return hash_hex(hasher.digest());
  }

  Result<std::optional<std::string>> text_file(std::string_view name) const override {
    if (const auto given = given_.find(name); given != given_.end()) return given->second;
    auto text = read_text_file(fmt::format("{}/{}", path_, name), kTextFileBytesMax);
    if (text) return std::optional(std::move(*text));
    if (text.error().code == Code::kNoInput) return std::optional<std::string>();
    return tl::unexpected(std::move(text).error());
  }

  Result<DType> matrix_dtype(const std::string& name, uint32_t rows, uint32_t cols) const override {
    const std::array<uint64_t, 2> shape = {rows, cols};
    return dtype_of(*TRY(find(name, shape)));
  }

  Status load_matrix(const std::string& name, uint32_t rows, uint32_t cols,
                     std::span<std::byte> out, const ByteProgress& progress) const override {
    const std::array<uint64_t, 2> shape = {rows, cols};
    const TensorInfo& tensor = *TRY(find(name, shape));
    const DType dtype = TRY(dtype_of(tensor));
    const size_t row_bytes = cols * dtype_bytes(dtype);
    const size_t blocks_at_once = std::max<size_t>(1, kPieceBytes / (row_bytes * kLanes));
    std::vector<std::byte> raw(std::min<size_t>(blocks_at_once * kLanes, rows) * row_bytes);
    for (uint32_t row = 0; row < rows;) {
      const auto count =
          static_cast<uint32_t>(std::min<size_t>(blocks_at_once * kLanes, rows - row));
      const std::span<std::byte> piece(raw.data(), count * row_bytes);
      TRY_STATUS(file_of(tensor).read(tensor.offset + row * row_bytes, piece));
      TRY_STATUS(check_finite(tensor, dtype, piece));
      const size_t block = row / kLanes;
      const size_t block_size = block_bytes(dtype, cols);
      interleave(dtype, piece.data(), count, cols, out.data() + block * block_size);
      row += count;
      if (progress) progress(std::min<size_t>(out.size(), (block + count / kLanes) * block_size));
    }
    return file_of(tensor).unchanged();
  }

  Result<std::vector<float>> load_vector(const std::string& name, uint32_t n) const override {
    const std::array<uint64_t, 1> shape = {n};
    const TensorInfo& tensor = *TRY(find(name, shape));
    const DType dtype = TRY(dtype_of(tensor));
    std::vector<std::byte> raw(n * dtype_bytes(dtype));
    TRY_STATUS(file_of(tensor).read(tensor.offset, raw));
    TRY_STATUS(check_finite(tensor, dtype, raw));
    std::vector<float> values(n);
    widen(dtype, raw.data(), n, values.data());
    return values;
  }

 private:
  const InputFile& file_of(const TensorInfo& tensor) const {
    return checkpoint_->file(tensor.file);
  }

  std::string where(const TensorInfo& tensor) const {
    return fmt::format("{}: tensor {}", file_of(tensor).path(), tensor.name);
  }

  Result<const TensorInfo*> find(const std::string& name, std::span<const uint64_t> shape) const {
    const TensorInfo* tensor = checkpoint_->find(name);
    if (tensor == nullptr) {
      return fail(Code::kBadData, fmt::format("tensor {} is missing", name), path_,
                  "the checkpoint is incomplete, or config.json is of another one");
    }
    if (!std::ranges::equal(tensor->shape, shape)) {
      return fail(Code::kBadData,
                  fmt::format("has shape {}, config.json asks for {}", shape_text(tensor->shape),
                              shape_text(shape)),
                  where(*tensor));
    }
    return tensor;
  }

  Result<DType> dtype_of(const TensorInfo& tensor) const {
    if (const auto dtype = stored_dtype(tensor.dtype)) return *dtype;
    return fail(Code::kConfig, fmt::format("weights stored as {} are not supported", tensor.dtype),
                where(tensor), "use a BF16, F16 or F32 checkpoint");
  }

  Status check_finite(const TensorInfo& tensor, DType dtype,
                      std::span<const std::byte> bytes) const {
    if (all_finite(dtype, bytes)) return {};
    return fail(Code::kBadData, "holds a NaN or an infinity", where(tensor));
  }

  std::string path_;
  GivenTexts given_;
  std::optional<Checkpoint> checkpoint_;
  std::unique_ptr<ExpertSource> experts_;
};

}  // namespace

Result<std::unique_ptr<ModelSource>> open_folder_model(const std::string& path,
                                                       const GivenTexts& given) {
  return FolderModel::open(path, given);
}

}  // namespace switchyard
