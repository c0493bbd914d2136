#include "runtime/engine/engine_needs.h"

#include <algorithm>
#include <map>

#include "experts/rank_source.h"
#include "experts/replicas.h"
#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/engine/dense_weights.h"
#include "runtime/engine/head_range.h"
#include "runtime/engine/router_probe.h"
#include "runtime/engine/workspace.h"

namespace switchyard {
namespace {

// What the exchanges of a team take for a row of a step.
uint64_t exchange_row_bytes(const ModelSpec& spec, const TeamOptions& team) {
  if (team.alone()) return 0;
  uint64_t bytes = ExpertExchange::bytes({spec.hidden, spec.moe.top_k, 1}, team.ranks());
  bytes += bytes / 2;  // the second pass
  if (const auto slices = slice_shape(spec, team, 1)) bytes += SliceExchange::bytes(*slices);
  if (team.splits_heads()) {
    const OwnerShape shape = owner_shape(spec, team.ranks(), 1);
    bytes += OwnerExchange::bytes(shape, team.rank());
    bytes += shape.nodes_of_rank[team.rank()].size() * padded(spec.hidden) * sizeof(float);
  }
  return bytes;
}

// The most that one layer has of them.
uint32_t experts_of_a_layer(const ExpertSource& experts) {
  std::map<uint16_t, uint32_t> of_layer;
  uint32_t most = 0;
  for (const ExpertKey key : experts.keys()) most = std::max(most, ++of_layer[key.layer]);
  return most;
}

}  // namespace

std::unique_ptr<ExpertSource> rank_experts(const ModelSource& source, const TeamOptions& team,
                                           const Placement& placement) {
  if (team.alone()) return nullptr;
  return make_rank_source(source.experts(), placement, source.spec().router_layers(), team.rank());
}

uint32_t experts_held_max(const ModelSource& source, const TeamOptions& team) {
  const auto held = [&](const Placement& placement) {
    const auto own = rank_experts(source, team, placement);
    return static_cast<uint32_t>((own ? *own : source.experts()).keys().size());
  };
  const uint32_t at_first = held(team.placement);
  if (team.alone() || !team.adapt) return at_first;
  const ReplicaRoom room = replica_room(team.adapt->base, team.adapt->memory_share);
  return std::max(at_first, held(team.adapt->base) + static_cast<uint32_t>(room.each));
}

ModelSpec kv_spec(const ModelSpec& spec, const TeamOptions& team) {
  ModelSpec part = spec;
  if (!team.splits_heads()) return part;
  const HeadRange heads = heads_of(team.rank(), team.ranks(), spec.attention.kv_heads);
  part.attention.heads = std::max(heads.count, 1U) * spec.attention.group_heads();
  part.attention.kv_heads = std::max(heads.count, 1U);
  return part;
}

uint32_t sequences_here(const EngineOptions& options) {
  if (options.team.splits_heads()) return options.sequences;
  return static_cast<uint32_t>(ceil_div(options.sequences, options.team.ranks()));
}

KvCache::Needs kv_needs(const ModelSource& source, const EngineOptions& options) {
  const bool elastic = options.expert_bytes_max == UINT64_MAX;
  const auto own = rank_experts(source, options.team, options.team.placement);
  const ExpertSource& experts = own ? *own : source.experts();
  return KvCache::needs(kv_spec(source.spec(), options.team), options.context,
                        sequences_here(options), elastic ? experts.slot_bytes() : 0);
}

OwnerShape owner_shape(const ModelSpec& spec, uint32_t ranks, uint32_t rows) {
  OwnerShape shape{.hidden = spec.hidden,
                   .rows_max = rows,
                   .gathered_bytes = spec.hidden * sizeof(float) + sizeof(uint64_t) +
                                     spec.moe.top_k * sizeof(RoutedExpert),
                   .leaves = spec.attention.kv_heads};
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    std::vector<uint32_t>& firsts = shape.nodes_of_rank.emplace_back();
    for (const HeadRange node : head_nodes(heads_of(rank, ranks, shape.leaves), shape.leaves)) {
      firsts.push_back(node.first);
    }
  }
  return shape;
}

uint32_t second_pass_rows(uint32_t rows) { return rows / 2; }

std::optional<SliceShape> slice_shape(const ModelSpec& spec, const TeamOptions& team,
                                      uint32_t rows) {
  if (team.alone()) return std::nullopt;
  SliceShape shape{.ranks = team.placement.group_of(team.rank()),
                   .hidden = spec.hidden,
                   .intermediate = spec.moe.intermediate,
                   .experts = spec.moe.experts,
                   .rows_max = rows};
  if (shape.ranks.size() < 2) return std::nullopt;
  return shape;
}

Result<MemoryNeeds> memory_needs(const ModelSource& source, const EngineOptions& options,
                                 uint64_t foresight_bytes) {
  CHECK(options.context >= 1 && options.sequences >= 1);
  const ModelSpec& spec = source.spec();
  const auto part = rank_experts(source, options.team, options.team.placement);
  const ExpertSource& experts = part ? *part : source.experts();
  const auto workspace = [&](uint32_t rows, uint32_t logits) {
    return Workspace::bytes(spec, rows, logits);
  };
  MemoryNeeds needs;
  needs.dense_bytes = TRY(DenseWeights::bytes(source));
  const KvCache::Needs kv = kv_needs(source, options);
  needs.kv_bytes = kv.own_bytes;
  needs.kv_slots = kv.pieces;
  needs.other_bytes = options.other_bytes + RouterProbe::bytes(spec, Foresight::kTokensMax) +
                      foresight_bytes + (options.forecast ? options.forecast->bytes() : 0);
  needs.activation_bytes = workspace(0, 0);
  needs.activation_row_bytes =
      workspace(1, 0) - workspace(0, 0) + exchange_row_bytes(spec, options.team);
  needs.logits_row_bytes = workspace(0, 1) - workspace(0, 0);
  if (options.team.splits_heads()) needs.logits_row_bytes *= 2;  // parts come from everywhere
  needs.slot_bytes = experts.slot_bytes();
  needs.staging_bytes = experts.direct() ? 0 : experts.staging_bytes();
  needs.experts = experts_held_max(source, options.team);
  needs.slots_min = std::min(spec.moe.top_k, experts_of_a_layer(experts));
  needs.chunk_min = options.sequences;
  needs.chunk_wanted =
      std::max(options.chunk == 0 ? kChunkDefault : options.chunk, needs.chunk_min);
  needs.chunk_wanted =
      std::max(needs.chunk_min, std::min(needs.chunk_wanted, options.context * options.sequences));
  needs.expert_bytes_max = options.expert_bytes_max;
  return needs;
}

}  // namespace switchyard
