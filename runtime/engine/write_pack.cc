#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experts/expert_source.h"
#include "experts/pack_source.h"
#include "runtime/base/align.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/model_source.h"
#include "runtime/engine/pack_names.h"
#include "storage/input_file.h"
#include "storage/pack_writer.h"

namespace switchyard {
namespace {

// Writes the parts of one model in order, skipping what an interrupted run has already written.
class ModelPacker {
 public:
  ModelPacker(const ModelSource& source, PackWriter writer, const PackProgress& progress)
      : source_(source), writer_(std::move(writer)), progress_(progress) {}

  Status run() {
    TRY_STATUS(count_bytes());
    TRY_STATUS(texts());
    for (const DenseTensor& tensor : dense_tensors(source_.spec())) TRY_STATUS(dense(tensor));
    for (const ExpertKey key : source_.experts().keys()) TRY_STATUS(expert(key));
    return writer_.finish();
  }

 private:
  Status count_bytes() {
    const ExpertSource& experts = source_.experts();
    bytes_all_ =
        TRY(DenseWeights::bytes(source_)) + experts.keys().size() * experts.layout().bytes();
    return {};
  }

  Status step(uint64_t bytes) {
    bytes_done_ += bytes;
    if (!progress_ || progress_(bytes_done_, bytes_all_)) return {};
    return fail(Code::kStopped, "stopped before the pack was complete", {},
                "the same command goes on from here");
  }

  Status texts() {
    for (const std::string_view name : kPackTextFiles) {
      const auto text = TRY(source_.text_file(name));
      if (text && !writer_.has(name)) {
        TRY_STATUS(writer_.add(name, std::as_bytes(std::span(*text))));
      }
    }
    if (writer_.has(kPackOrderName)) return {};
    const std::string order = nlohmann::json(source_.expert_order()).dump();
    return writer_.add(kPackOrderName, std::as_bytes(std::span(order)));
  }

  Status dense(const DenseTensor& tensor) {
    const std::string name = pack_dense_name(tensor.name);
    PackAttributes attributes = {{"rows", fmt::to_string(tensor.rows)},
                                 {"cols", fmt::to_string(tensor.cols)}};
    if (tensor.rows == 0) {
      if (!writer_.has(name)) {
        const std::vector<float> values = TRY(source_.load_vector(tensor.name, tensor.cols));
        TRY_STATUS(writer_.add(name, std::as_bytes(std::span(values)), std::move(attributes)));
      }
      return step(tensor.cols * sizeof(float));
    }
    const DType dtype = TRY(source_.matrix_dtype(tensor.name, tensor.rows, tensor.cols));
    const size_t bytes = matrix_bytes(dtype, tensor.rows, tensor.cols);
    if (!writer_.has(name)) {
      std::vector<std::byte> matrix(bytes);
      TRY_STATUS(source_.load_matrix(tensor.name, tensor.rows, tensor.cols, matrix, {}));
      attributes.emplace("dtype", dtype_name(dtype));
      TRY_STATUS(writer_.add(name, matrix, std::move(attributes)));
    }
    return step(bytes);
  }

  Status expert(ExpertKey key) {
    const ExpertLayout& layout = source_.experts().layout();
    const std::string name = pack_expert_name(key);
    if (!writer_.has(name)) {
      TRY_STATUS(load_expert(key));
      TRY_STATUS(writer_.add(name, {slot_.data(), layout.bytes()}, pack_expert_attributes(layout)));
    }
    return step(layout.bytes());
  }

  // Reads the expert's pieces and makes them kernel-ready in slot_.
  Status load_expert(ExpertKey key) {
    const ExpertSource& experts = source_.experts();
    slot_.assign(experts.layout().slot_bytes(), std::byte{0});
    const std::vector<ExpertPiece> pieces = experts.pieces(key);
    uint64_t raw_bytes = 0;
    for (const ExpertPiece& piece : pieces) raw_bytes += piece.bytes;
    raw_.resize(raw_bytes);
    std::vector<StagedPiece> staged;
    uint64_t at = 0;
    for (const ExpertPiece& piece : pieces) {
      TRY_STATUS(piece.file->read(piece.offset, {raw_.data() + at, piece.bytes}));
      staged.push_back({raw_.data() + at, piece.bytes});
      at += piece.bytes;
    }
    return experts.finish(key, staged, slot_);
  }

  const ModelSource& source_;
  PackWriter writer_;
  const PackProgress& progress_;
  uint64_t bytes_done_ = 0;
  uint64_t bytes_all_ = 0;
  std::vector<std::byte> raw_;
  std::vector<std::byte> slot_;
};

}  // namespace

Status write_pack(const ModelSource& source, const std::string& path,
                  const PackProgress& progress) {
  if (source.experts().direct()) {
    return fail(Code::kUsage, "is a pack already", source.path(), "give the folder it came from");
  }
  PackWriter writer = TRY(PackWriter::create(path, source.fingerprint()));
  return ModelPacker(source, std::move(writer), progress).run();
}

}  // namespace switchyard
