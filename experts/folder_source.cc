#include "experts/folder_source.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <optional>
#include <span>
#include <utility>

#include "experts/key_index.h"
#include "runtime/base/check.h"
#include "storage/safetensors.h"

namespace switchyard {
namespace {

// The three tensors of one expert: gate, up, down.
using ExpertTensors = std::array<const TensorInfo*, 3>;

// Where a tensor's bytes are among the pieces.
struct TensorPlace {
  uint32_t piece = 0;
  uint64_t offset = 0;
};

struct ExpertPlan {
  std::vector<ExpertPiece> pieces;
  std::array<TensorPlace, 3> places;
};

// The rows of gate, up and down that are in the slice.
std::array<RowRange, 3> rows_of_tensors(const ExpertLayout& layout) {
  return {layout.inner_rows(), layout.inner_rows(), layout.outer_rows()};
}

// What follows each other in a file becomes one piece.
ExpertPlan plan_reads(const Checkpoint& checkpoint, const ExpertTensors& tensors,
                      const ExpertLayout& layout) {
  std::array<uint32_t, 3> order = {0, 1, 2};
  std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) {
    return std::pair(tensors[a]->file, tensors[a]->offset) <
           std::pair(tensors[b]->file, tensors[b]->offset);
  });
  const std::array<RowRange, 3> rows = rows_of_tensors(layout);
  ExpertPlan plan;
  for (const uint32_t i : order) {
    const TensorInfo& tensor = *tensors[i];
    const InputFile* file = &checkpoint.file(tensor.file);
    const uint64_t row_bytes = tensor.shape[1] * dtype_bytes(layout.dtype);
    const uint64_t offset = tensor.offset + rows[i].begin * row_bytes;
    const bool follows = !plan.pieces.empty() && plan.pieces.back().file == file &&
                         plan.pieces.back().offset + plan.pieces.back().bytes == offset;
    if (!follows) plan.pieces.push_back({file, offset, 0});
    plan.places[i] = {static_cast<uint32_t>(plan.pieces.size() - 1), plan.pieces.back().bytes};
    plan.pieces.back().bytes += rows[i].rows() * row_bytes;
  }
  return plan;
}

std::optional<DType> computed_dtype(std::string_view name) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    if (dtype_name(dtype) == name) return dtype;
  }
  return std::nullopt;
}

std::string place_of(const Checkpoint& checkpoint, const TensorInfo& tensor) {
  return fmt::format("{}, tensor {}", checkpoint.file(tensor.file).path(), tensor.name);
}

// Interleaves a matrix block by block, each looked at while it is in cache; false at the first NaN
// or infinity.
bool interleave_finite(DType dtype, const std::byte* source, uint32_t rows, uint32_t cols,
                       std::byte* out) {
  const size_t stride = cols * dtype_bytes(dtype);
  for (uint32_t row = 0; row < rows; row += kLanes) {
    const uint32_t rows_here = std::min(kLanes, rows - row);
    const std::byte* block = source + row * stride;
    if (!all_finite(dtype, {block, rows_here * stride})) return false;
    interleave_block(dtype, block, stride, rows_here, cols, out);
    out += block_bytes(dtype, cols);
  }
  return true;
}

Result<const TensorInfo*> find_tensor(const Checkpoint& checkpoint, const std::string& name,
                                      std::array<uint64_t, 2> shape) {
  const TensorInfo* tensor = checkpoint.find(name);
  if (tensor == nullptr) {
    return fail(Code::kBadData, fmt::format("no tensor {}", name), checkpoint.folder(),
                "fetch the whole checkpoint");
  }
  if (!std::equal(tensor->shape.begin(), tensor->shape.end(), shape.begin(), shape.end())) {
    return fail(Code::kBadData, fmt::format("shape is {}, not {}", tensor->shape, shape),
                place_of(checkpoint, *tensor), "config.json belongs to another checkpoint");
  }
  return tensor;
}

class FolderSource final : public ExpertSource {
 public:
  FolderSource(const Checkpoint& checkpoint, const ExpertLayout& layout,
               std::vector<ExpertKey> keys, std::vector<ExpertTensors> tensors)
      : checkpoint_(checkpoint),
        layout_(layout),
        keys_(std::move(keys)),
        index_(keys_),
        tensors_(std::move(tensors)) {
    for (const ExpertTensors& expert : tensors_) {
      uint64_t bytes = 0;
      for (const ExpertPiece& piece : plan_reads(checkpoint_, expert, layout_).pieces) {
        bytes += bytes_in_pages(piece);
      }
      staging_bytes_ = std::max(staging_bytes_, bytes);
    }
  }

  const ExpertLayout& layout() const override { return layout_; }
  const std::vector<ExpertKey>& keys() const override { return keys_; }
  bool direct() const override { return false; }
  std::vector<ExpertPiece> pieces(ExpertKey key) const override {
    return plan_reads(checkpoint_, tensors_[index_.at(key)], layout_).pieces;
  }
  uint64_t staging_bytes() const override { return staging_bytes_; }

  Status finish(ExpertKey key, std::span<const StagedPiece> staged,
                std::span<std::byte> slot) const override {
    CHECK_THAT(slot.size() >= layout_.bytes(), "{} of {}", slot.size(), layout_.bytes());
    const ExpertTensors& tensors = tensors_[index_.at(key)];
    const ExpertPlan plan = plan_reads(checkpoint_, tensors, layout_);
    CHECK_THAT(staged.size() == plan.pieces.size(), "{} of {}", staged.size(), plan.pieces.size());
    for (const ExpertPiece& piece : plan.pieces) {
      const Status unchanged = piece.file->unchanged();
      if (!unchanged) return tl::unexpected(in_expert(unchanged.error(), key));
    }
    std::byte* out = slot.data();
    for (size_t i = 0; i < tensors.size(); ++i) {
      const TensorInfo& tensor = *tensors[i];
      const std::byte* data = staged[plan.places[i].piece].data + plan.places[i].offset;
      const uint32_t rows = rows_of_tensors(layout_)[i].rows();
      const auto cols = static_cast<uint32_t>(tensor.shape[1]);
      if (!interleave_finite(layout_.dtype, data, rows, cols, out)) {
        return tl::unexpected(
            in_expert({Code::kBadData, "NaN or infinity", place_of(checkpoint_, tensor), {}}, key));
      }
      out += matrix_bytes(layout_.dtype, rows, cols);
    }
    return {};
  }

  std::unique_ptr<ExpertSource> sliced(const std::vector<ExpertKey>& keys,
                                       RowSlice slice) const override {
    std::vector<ExpertTensors> tensors;
    tensors.reserve(keys.size());
    for (const ExpertKey key : keys) tensors.push_back(tensors_[index_.at(key)]);
    ExpertLayout layout = layout_;
    layout.slice = slice;
    return std::make_unique<FolderSource>(checkpoint_, layout, keys, std::move(tensors));
  }

 private:
  const Checkpoint& checkpoint_;
  const ExpertLayout layout_;
  const std::vector<ExpertKey> keys_;
  const KeyIndex index_;
  const std::vector<ExpertTensors> tensors_;  // [keys]
  uint64_t staging_bytes_ = 0;
};

}  // namespace

Result<std::unique_ptr<ExpertSource>> make_folder_source(
    const Checkpoint& checkpoint, uint32_t hidden, uint32_t intermediate,
    std::vector<ExpertKey> keys, const std::function<ExpertTensorNames(ExpertKey)>& names) {
  CHECK(hidden > 0 && intermediate > 0 && !keys.empty());
  std::vector<ExpertTensors> tensors;
  tensors.reserve(keys.size());
  for (const ExpertKey key : keys) {
    const ExpertTensorNames of = names(key);
    tensors.push_back({TRY(find_tensor(checkpoint, of.gate, {intermediate, hidden})),
                       TRY(find_tensor(checkpoint, of.up, {intermediate, hidden})),
                       TRY(find_tensor(checkpoint, of.down, {hidden, intermediate}))});
  }
  const TensorInfo& first = *tensors.front().front();
  const auto dtype = computed_dtype(first.dtype);
  if (!dtype) {
    return fail(Code::kConfig, fmt::format("stored as {}", first.dtype),
                place_of(checkpoint, first), "BF16, F16 and F32 are computed");
  }
  for (const ExpertTensors& expert : tensors) {
    for (const TensorInfo* tensor : expert) {
      if (tensor->dtype == first.dtype) continue;
      return fail(Code::kConfig,
                  fmt::format("stored as {}, other experts as {}", tensor->dtype, first.dtype),
                  place_of(checkpoint, *tensor), "store all experts in one type");
    }
  }
  const ExpertLayout layout{*dtype, hidden, intermediate};
  return std::make_unique<FolderSource>(checkpoint, layout, std::move(keys), std::move(tensors));
}

}  // namespace switchyard
