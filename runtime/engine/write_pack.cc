#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "experts/expert_source.h"
#include "experts/pack_source.h"
#include "runtime/base/align.h"
#include "runtime/base/hash.h"
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
  ModelPacker(const ModelSource& source, std::vector<PackWriter> writers,
              const PackProgress& progress)
      : source_(source), writers_(std::move(writers)), progress_(progress) {}

  // `paths` of the volumes behind the first.
  Status run(const std::vector<std::string>& paths) {
    TRY_STATUS(count_bytes());
    TRY_STATUS(texts());
    TRY_STATUS(volumes(paths));
    for (const DenseTensor& tensor : dense_tensors(source_.spec())) TRY_STATUS(dense(tensor));
    for (const ExpertKey key : source_.experts().keys()) TRY_STATUS(expert(key));
    // The first one is the last to bear its name: it vouches for the others.
    for (size_t i = writers_.size(); i-- > 0;) TRY_STATUS(writers_[i].finish());
    return {};
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
      if (text) TRY_STATUS(add_text(writers_[0], name, *text));
    }
    return add_text(writers_[0], kPackOrderName, encode_order(source_.expert_order()));
  }

  static Status add_text(PackWriter& writer, std::string_view name, const std::string& text) {
    if (writer.has(name)) return {};
    return writer.add(name, std::as_bytes(std::span(text)));
  }

  Status volumes(const std::vector<std::string>& paths) {
    if (paths.empty()) return {};
    const std::string id = pack_id(source_, paths.size());
    const nlohmann::json list = {{"id", id}, {"paths", paths}};
    TRY_STATUS(add_text(writers_[0], kPackVolumesName, list.dump()));
    for (size_t i = 1; i < writers_.size(); ++i) {
      TRY_STATUS(add_text(writers_[i], kPackVolumeName, fmt::format("{} {}", id, i)));
    }
    return {};
  }

  Status dense(const DenseTensor& tensor) {
    const std::string name = pack_dense_name(tensor.name);
    PackAttributes attributes = {{"rows", fmt::to_string(tensor.rows)},
                                 {"cols", fmt::to_string(tensor.cols)}};
    if (tensor.rows == 0) {
      if (!writers_[0].has(name)) {
        const std::vector<float> values = TRY(source_.load_vector(tensor.name, tensor.cols));
        TRY_STATUS(writers_[0].add(name, std::as_bytes(std::span(values)), std::move(attributes)));
      }
      return step(tensor.cols * sizeof(float));
    }
    const DType dtype = TRY(source_.matrix_dtype(tensor.name, tensor.rows, tensor.cols));
    const size_t bytes = matrix_bytes(dtype, tensor.rows, tensor.cols);
    if (!writers_[0].has(name)) {
      std::vector<std::byte> matrix(bytes);
      TRY_STATUS(source_.load_matrix(tensor.name, tensor.rows, tensor.cols, matrix, {}));
      attributes.emplace("dtype", dtype_name(dtype));
      TRY_STATUS(writers_[0].add(name, matrix, std::move(attributes)));
    }
    return step(bytes);
  }

  Status expert(ExpertKey key) {
    const ExpertLayout& layout = source_.experts().layout();
    const std::string name = pack_expert_name(key);
    PackWriter& writer = writers_[volume_of(key, writers_.size())];
    if (!writer.has(name)) {
      TRY_STATUS(load_expert(key));
      TRY_STATUS(writer.add(name, {slot_.data(), layout.bytes()}, pack_expert_attributes(layout)));
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
  std::vector<PackWriter> writers_;  // of the volumes
  const PackProgress& progress_;
  uint64_t bytes_done_ = 0;
  uint64_t bytes_all_ = 0;
  std::vector<std::byte> raw_;
  std::vector<std::byte> slot_;
};

}  // namespace

std::string pack_id(const ModelSource& source, size_t more) {
  const std::string text =
      fmt::format("{} {} {}", source.fingerprint(), encode_order(source.expert_order()), more);
  return hash_hex(hash_bytes(std::as_bytes(std::span(text))));
}

Status write_pack(const ModelSource& source, const std::string& path,
                  const std::vector<std::string>& more, const PackProgress& progress) {
  if (source.experts().direct()) {
    return fail(Code::kUsage, "is a pack already", source.path(), "give the folder it came from");
  }
  // A pack of another order or of other volumes is another pack: nothing of it may be kept.
  const std::string fingerprint = fmt::format("{} {} {}", source.fingerprint(),
                                              pack_id(source, more.size()), fmt::join(more, " "));
  std::vector<PackWriter> writers;
  writers.push_back(TRY(PackWriter::create(path, fingerprint)));
  for (const std::string& volume : more) {
    writers.push_back(TRY(PackWriter::create(volume, fingerprint)));
  }
  return ModelPacker(source, std::move(writers), progress).run(more);
}

}  // namespace switchyard
