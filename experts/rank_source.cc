#include "experts/rank_source.h"

#include <utility>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

class RankSource final : public ExpertSource {
 public:
  RankSource(const ExpertSource& all, std::vector<ExpertKey> keys)
      : all_(all), keys_(std::move(keys)) {}

  const ExpertLayout& layout() const override { return all_.layout(); }
  uint64_t expert_bytes() const override { return all_.expert_bytes(); }
  uint64_t slot_bytes() const override { return all_.slot_bytes(); }
  const std::vector<ExpertKey>& keys() const override { return keys_; }
  bool direct() const override { return all_.direct(); }
  std::vector<ExpertPiece> pieces(ExpertKey key) const override { return all_.pieces(key); }
  uint64_t staging_bytes() const override { return all_.staging_bytes(); }
  Status finish(ExpertKey key, std::span<const StagedPiece> staged,
                std::span<std::byte> slot) const override {
    return all_.finish(key, staged, slot);
  }

 private:
  const ExpertSource& all_;
  const std::vector<ExpertKey> keys_;
};

}  // namespace

std::unique_ptr<ExpertSource> make_rank_source(const ExpertSource& all, const Placement& placement,
                                               const std::vector<uint16_t>& layers, uint32_t rank) {
  CHECK(placement.holders.size() == layers.size() && rank < placement.ranks);
  std::vector<size_t> at_of_layer(layers.empty() ? 0 : layers.back() + size_t{1});
  for (size_t at = 0; at < layers.size(); ++at) at_of_layer[layers[at]] = at;
  const uint32_t leader = placement.leader_of(rank);
  std::vector<ExpertKey> keys;
  for (const ExpertKey key : all.keys()) {
    const RankSet holders = placement.holders[at_of_layer[key.layer]][key.expert];
    if ((holders >> leader & 1) != 0) keys.push_back(key);
  }
  if (keys.empty()) keys.push_back(all.keys().front());
  const RowSlice slice = placement.slice_of(rank);
  if (slice.count > 1) return all.sliced(keys, slice);
  return std::make_unique<RankSource>(all, std::move(keys));
}

}  // namespace switchyard
