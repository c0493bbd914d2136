#include "experts/pack_slice_source.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "experts/key_index.h"
#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"
#include "storage/input_file.h"

namespace switchyard {
namespace {

constexpr uint64_t kVerifyBytes = 1 << 20;  // read at once

class PackSliceSource final : public ExpertSource {
 public:
  PackSliceSource(const ExpertLayout& layout, std::vector<ExpertKey> keys,
                  std::vector<PackExtent> extents)
      : layout_(layout),
        keys_(std::move(keys)),
        index_(keys_),
        extents_(std::move(extents)),
        hashes_(keys_.size()) {
    for (const ExpertKey key : keys_) {
      uint64_t at = 0, in_pages = 0;
      for (const ExpertPiece& piece : pieces(key)) {
        direct_ = direct_ && at % kPageBytes == 0 && piece.offset % kPageBytes == 0;
        at += piece.bytes;
        in_pages += bytes_in_pages(piece);
      }
      staging_bytes_ = std::max(staging_bytes_, in_pages);
    }
  }

  const ExpertLayout& layout() const override { return layout_; }
  const std::vector<ExpertKey>& keys() const override { return keys_; }
  bool direct() const override { return direct_; }
  uint64_t staging_bytes() const override { return staging_bytes_; }

  // Of gate, up and down.
  std::vector<ExpertPiece> pieces(ExpertKey key) const override {
    const PackExtent& extent = extents_[index_.at(key)];
    ExpertLayout whole = layout_;
    whole.slice = {};
    const auto piece = [&](uint64_t matrix, RowRange rows, uint32_t cols) {
      const uint64_t begin = rows.begin / kLanes * block_bytes(layout_.dtype, cols);
      return ExpertPiece{extent.file.get(), extent.offset + matrix + begin,
                         matrix_bytes(layout_.dtype, rows.rows(), cols)};
    };
    return {piece(0, layout_.inner_rows(), layout_.hidden),
            piece(whole.gate_bytes(), layout_.inner_rows(), layout_.hidden),
            piece(2 * whole.gate_bytes(), layout_.outer_rows(), layout_.intermediate)};
  }

  Status finish(ExpertKey key, std::span<const StagedPiece> staged,
                std::span<std::byte> slot) const override {
    CHECK(verified_ && slot.size() >= layout_.bytes());
    const uint32_t at = index_.at(key);
    if (direct_) return check_extent(extents_[at], key, staged.front().hash, hashes_[at]);
    Hasher hasher;
    std::byte* out = slot.data();
    for (const StagedPiece& piece : staged) {
      hasher.update({piece.data, piece.bytes});
      std::memcpy(out, piece.data, piece.bytes);
      out += piece.bytes;
    }
    return check_extent(extents_[at], key, hasher.digest(), hashes_[at]);
  }

  Status verify() override {
    std::vector<std::byte> buffer(kVerifyBytes);
    for (const ExpertKey key : keys_) {
      auto hash = verified_slice(key, buffer);
      if (!hash) return tl::unexpected(std::move(hash).error());
      hashes_[index_.at(key)] = *hash;
    }
    verified_ = true;
    return {};
  }

 private:
  // Reads a whole expert; the hash of its slice.
  Result<uint64_t> verified_slice(ExpertKey key, std::span<std::byte> buffer) const {
    const PackExtent& extent = extents_[index_.at(key)];
    const std::vector<ExpertPiece> slice = pieces(key);
    ExpertLayout layout = layout_;
    layout.slice = {};
    Hasher of_whole, of_slice;
    for (uint64_t done = 0; done < layout.bytes();) {
      const auto part = buffer.first(std::min<uint64_t>(buffer.size(), layout.bytes() - done));
      const uint64_t begin = extent.offset + done;
      if (Status read = extent.file->read(begin, part); !read) {
        return tl::unexpected(in_expert(std::move(read).error(), key));
      }
      of_whole.update(part);
      for (const ExpertPiece& piece : slice) {
        const uint64_t first = std::max(begin, piece.offset);
        const uint64_t last = std::min(begin + part.size(), piece.offset + piece.bytes);
        if (first < last) of_slice.update(part.subspan(first - begin, last - first));
      }
      done += part.size();
    }
    TRY_STATUS(check_extent(extent, key, of_whole.digest(), extent.hash));
    return of_slice.digest();
  }

  const ExpertLayout layout_;
  const std::vector<ExpertKey> keys_;
  const KeyIndex index_;
  const std::vector<PackExtent> extents_;  // [keys]
  std::vector<uint64_t> hashes_;           // [keys] of the slices, once verified
  bool verified_ = false;
  bool direct_ = true;
  uint64_t staging_bytes_ = 0;
};

}  // namespace

Status check_extent(const PackExtent& extent, ExpertKey key, uint64_t hash, uint64_t wanted) {
  Status status = extent.file->unchanged();
  if (status && hash != wanted) {
    status =
        fail(Code::kBadData, "damaged (checksum)", extent.file->path(), "pack the model again");
  }
  if (status) return {};
  return tl::unexpected(in_expert(std::move(status).error(), key));
}

std::unique_ptr<ExpertSource> make_pack_slice_source(const ExpertLayout& layout,
                                                     std::vector<ExpertKey> keys,
                                                     std::vector<PackExtent> extents) {
  return std::make_unique<PackSliceSource>(layout, std::move(keys), std::move(extents));
}

}  // namespace switchyard
