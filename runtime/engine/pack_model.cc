#include <fmt/format.h>

#include <array>
#include <charconv>

#include "experts/pack_source.h"
#include "runtime/engine/model_source.h"
#include "runtime/engine/pack_names.h"
#include "runtime/engine/pack_volumes.h"
#include "runtime/kernels/matrix.h"
#include "storage/pack_reader.h"

namespace switchyard {
namespace {

// The attribute as a number; −1 when it is none.
int64_t number_attribute(const PackSection& section, std::string_view name) {
  const auto found = section.attributes.find(name);
  if (found == section.attributes.end()) return -1;
  const std::string& text = found->second;
  int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc{} && end == text.data() + text.size() ? value : -1;
}

class PackModel final : public ModelSource {
 public:
  static Result<std::unique_ptr<ModelSource>> open(const std::string& path) {
    std::vector<PackReader> volumes = TRY(open_volumes(path));
    auto model = std::unique_ptr<PackModel>(new PackModel(std::move(volumes)));
    const auto config = TRY(model->text_file("config.json"));
    if (!config && model->reader_.find(kPackVolumeName) != nullptr) {
      return fail(Code::kBadData, "is a volume of a pack", path, "name the pack itself");
    }
    if (!config) return fail(Code::kBadData, "holds no config.json", path, "pack it again");
    model->spec_ = TRY(parse_model_spec(*config, path + ": config.json"));
    TRY_STATUS(model->read_order());
    const ModelSpec& spec = model->spec_;
    model->experts_ = TRY(make_pack_source(model->volumes_, spec.hidden, spec.moe.intermediate,
                                           spec.expert_keys(model->expert_order_)));
    return model;
  }

  std::string_view kind() const override { return "pack"; }
  const std::string& path() const override { return reader_.file().path(); }
  const ExpertSource& experts() const override { return *experts_; }

  std::string fingerprint() const override {
    std::string text = "pack";
    for (const PackReader& volume : volumes_) {
      const FileIdentity& file = volume.file().identity();
      text += fmt::format(" {} {} {}", file.inode, file.size_bytes, file.modified_ns);
    }
    return text;
  }

  Result<std::optional<std::string>> text_file(std::string_view name) const override {
    const PackSection* section = reader_.find(name);
    if (section == nullptr) return std::optional<std::string>();
    return std::optional(TRY(reader_.read(*section)));
  }

  Result<DType> matrix_dtype(const std::string& name, uint32_t rows, uint32_t cols) const override {
    const PackSection& section = *TRY(find(name, rows, cols));
    for (const DType dtype : {DType::kF32, DType::kBF16, DType::kF16}) {
      const auto stored = section.attributes.find("dtype");
      if (stored == section.attributes.end() || stored->second != dtype_name(dtype)) continue;
      if (section.bytes == matrix_bytes(dtype, rows, cols)) return dtype;
    }
    return damaged(section);
  }

  Status load_matrix(const std::string& name, uint32_t rows, uint32_t cols,
                     std::span<std::byte> out, const ByteProgress& progress) const override {
    TRY_STATUS(reader_.read(*TRY(find(name, rows, cols)), out));
    if (progress) progress(out.size());
    return {};
  }

  Result<std::vector<float>> load_vector(const std::string& name, uint32_t n) const override {
    const PackSection& section = *TRY(find(name, 0, n));
    if (section.bytes != n * sizeof(float)) return damaged(section);
    std::vector<float> values(n);
    TRY_STATUS(reader_.read(section, std::as_writable_bytes(std::span(values))));
    return values;
  }

 private:
  explicit PackModel(std::vector<PackReader> volumes)
      : volumes_(std::move(volumes)), reader_(volumes_[0]) {}

  tl::unexpected<Error> damaged(const PackSection& section) const {
    return fail(Code::kBadData,
                fmt::format("section {} is not what its config.json asks for", section.name),
                path(), "pack the model again");
  }

  Result<const PackSection*> find(const std::string& name, uint32_t rows, uint32_t cols) const {
    const PackSection* section = reader_.find(pack_dense_name(name));
    if (section == nullptr) {
      return fail(Code::kBadData, fmt::format("tensor {} is missing", name), path(),
                  "pack the model again");
    }
    if (number_attribute(*section, "rows") != rows || number_attribute(*section, "cols") != cols) {
      return damaged(*section);
    }
    return section;
  }

  Status read_order() {
    const auto text = TRY(text_file(kPackOrderName));
    if (!text) return fail(Code::kBadData, "holds no expert order", path(), "pack it again");
    expert_order_ = TRY(parse_order(*text, spec_.sparse_layers(), spec_.moe.experts, path()));
    return {};
  }

  const std::vector<PackReader> volumes_;
  const PackReader& reader_;  // the first one: all but some experts
  std::unique_ptr<ExpertSource> experts_;
};

}  // namespace

Result<std::unique_ptr<ModelSource>> open_pack_model(const std::string& path) {
  return PackModel::open(path);
}

}  // namespace switchyard
