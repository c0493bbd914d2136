#include "experts/pack_source.h"

#include <fmt/format.h>

#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "experts/key_index.h"
#include "experts/pack_slice_source.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"
#include "storage/pack_reader.h"

namespace switchyard {
namespace {

class PackSource final : public ExpertSource {
 public:
  PackSource(const ExpertLayout& layout, std::vector<ExpertKey> keys,
             std::vector<PackExtent> extents)
      : layout_(layout), keys_(std::move(keys)), index_(keys_), extents_(std::move(extents)) {}

  const ExpertLayout& layout() const override { return layout_; }
  const std::vector<ExpertKey>& keys() const override { return keys_; }
  bool direct() const override { return true; }
  std::vector<ExpertPiece> pieces(ExpertKey key) const override {
    const PackExtent& extent = extents_[index_.at(key)];
    return {{extent.file.get(), extent.offset, layout_.bytes()}};
  }
  uint64_t staging_bytes() const override { return layout_.slot_bytes(); }

  Status finish(ExpertKey key, std::span<const StagedPiece> staged,
                std::span<std::byte> slot) const override {
    CHECK(staged.size() == 1 && staged[0].data == slot.data());
    const PackExtent& extent = extents_[index_.at(key)];
    return check_extent(extent, key, staged[0].hash, extent.hash);
  }

  std::unique_ptr<ExpertSource> sliced(const std::vector<ExpertKey>& keys,
                                       RowSlice slice) const override {
    std::vector<PackExtent> extents;
    extents.reserve(keys.size());
    for (const ExpertKey key : keys) extents.push_back(extents_[index_.at(key)]);
    ExpertLayout layout = layout_;
    layout.slice = slice;
    return make_pack_slice_source(layout, keys, std::move(extents));
  }

 private:
  const ExpertLayout layout_;
  const std::vector<ExpertKey> keys_;
  const KeyIndex index_;
  const std::vector<PackExtent> extents_;  // [keys]
};

// The layout in which `section` says it is stored, if that is one of the given dimensions.
std::optional<ExpertLayout> layout_of(const PackSection& section, uint32_t hidden,
                                      uint32_t intermediate) {
  for (const DType dtype : {DType::kBF16, DType::kF16, DType::kF32}) {
    const ExpertLayout layout{dtype, hidden, intermediate};
    if (section.attributes == pack_expert_attributes(layout)) return layout;
  }
  return std::nullopt;
}

std::string place_of(const PackReader& pack, std::string_view section) {
  return fmt::format("{}, section {}", pack.file().path(), section);
}

}  // namespace

std::string pack_expert_name(ExpertKey key) {
  return fmt::format("expert/{}/{}", key.layer, key.expert);
}

PackAttributes pack_expert_attributes(const ExpertLayout& layout) {
  return {{"dtype", std::string(dtype_name(layout.dtype))},
          {"hidden", fmt::to_string(layout.hidden)},
          {"intermediate", fmt::to_string(layout.intermediate)}};
}

Result<std::unique_ptr<ExpertSource>> make_pack_source(const std::vector<PackReader>& volumes,
                                                       uint32_t hidden, uint32_t intermediate,
                                                       std::vector<ExpertKey> keys) {
  CHECK(!volumes.empty() && hidden > 0 && intermediate > 0 && !keys.empty());
  const std::string hint = "pack the model again";
  std::optional<ExpertLayout> layout;
  std::vector<PackExtent> extents;
  extents.reserve(keys.size());
  for (const ExpertKey key : keys) {
    const PackReader& pack = volumes[volume_of(key, volumes.size())];
    const std::string name = pack_expert_name(key);
    const PackSection* section = pack.find(name);
    if (section == nullptr) {
      return fail(Code::kBadData, fmt::format("no section {}", name), pack.file().path(), hint);
    }
    const auto own = layout_of(*section, hidden, intermediate);
    if (!own || section->bytes != own->bytes()) {
      return fail(Code::kBadData,
                  fmt::format("is no expert of hidden size {} and intermediate size {}", hidden,
                              intermediate),
                  place_of(pack, name), hint);
    }
    if (!layout) layout = own;
    if (own->dtype != layout->dtype) {
      return fail(Code::kBadData,
                  fmt::format("stored as {}, other experts as {}", dtype_name(own->dtype),
                              dtype_name(layout->dtype)),
                  place_of(pack, name), hint);
    }
    extents.push_back({pack.shared_file(), section->offset, section->hash});
  }
  return std::make_unique<PackSource>(*layout, std::move(keys), std::move(extents));
}

}  // namespace switchyard
