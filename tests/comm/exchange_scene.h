#pragma once

// A toy model over ranks, drawn from a seed: heads and experts are cheap functions of a row's bits,
// and what they add up to depends on every byte that travels.

#include <algorithm>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "comm/combine.h"
#include "comm/dispatch_plan.h"
#include "comm/expert_exchange.h"
#include "comm/topology.h"
#include "runtime/base/hash.h"
#include "runtime/base/prng.h"
#include "runtime/base/tree.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {

using Rows = std::vector<std::vector<float>>;  // [rows][hidden]

struct Scene {
  uint64_t seed = 0;
  uint32_t ranks = 2, hidden = 8, experts = 4, top_k = 1, layers = 2, rows = 1, leaves = 1;
  bool splits = false;                          // heads lie on all ranks, rows change owners
  std::vector<std::vector<uint8_t>> owners;     // [layers][rows]
  std::vector<std::vector<uint16_t>> place_of;  // [layers][experts]
  std::vector<std::vector<uint64_t>> holders;   // [layers][experts]
  std::vector<ExchangeWay> ways;                // [layers]
  std::vector<std::vector<uint32_t>> nodes_of_rank;
  Topology topology;

  std::pair<uint32_t, uint32_t> leaves_of(uint32_t rank) const {
    return {leaves * rank / ranks, leaves * (rank + 1) / ranks};
  }
};

namespace scene_parts {

// The first leaves of the largest nodes of [begin, end) that make up [first, last).
inline void add_nodes(uint32_t begin, uint32_t end, uint32_t first, uint32_t last,
                      std::vector<uint32_t>& nodes) {
  if (first >= end || last <= begin || first == last) return;
  if (first <= begin && end <= last) return nodes.push_back(begin);
  const uint32_t split = tree_split(begin, end);
  add_nodes(begin, split, first, last, nodes);
  add_nodes(split, end, first, last, nodes);
}

inline std::vector<uint16_t> shuffled(uint32_t count, Prng& prng) {
  std::vector<uint16_t> order(count);
  for (uint32_t i = 0; i < count; ++i) order[i] = static_cast<uint16_t>(i);
  for (uint32_t i = count; i > 1; --i) std::swap(order[i - 1], order[prng.below(i)]);
  return order;
}

inline void draw_layer(Scene& scene, Prng& prng) {
  std::vector<uint8_t> owners(scene.rows);
  const uint64_t owners_most = 1 + prng.below(scene.ranks);
  for (uint8_t& owner : owners) owner = static_cast<uint8_t>(prng.below(owners_most));
  if (!scene.splits && !scene.owners.empty()) owners = scene.owners.front();
  scene.owners.push_back(owners);
  scene.place_of.push_back(shuffled(scene.experts, prng));
  std::vector<uint64_t> holders(scene.experts);
  for (uint64_t& of_expert : holders) {
    of_expert = uint64_t{1} << prng.below(scene.ranks);
    if (prng.below(4) == 0) of_expert |= uint64_t{1} << prng.below(scene.ranks);
  }
  scene.holders.push_back(holders);
  scene.ways.push_back(prng.below(2) == 0 ? ExchangeWay::kSparse : ExchangeWay::kGather);
}

}  // namespace scene_parts

inline Scene draw_scene(uint64_t seed) {
  Prng prng(seed ^ 0x5ce9e);
  const auto within = [&](uint32_t least, uint32_t most) {
    return least + static_cast<uint32_t>(prng.below(most - least + 1));
  };
  Scene scene;
  scene.seed = seed;
  scene.ranks = within(2, 6);
  scene.hidden = within(3, 24);
  scene.experts = within(2, 16);
  scene.top_k = within(1, std::min(scene.experts, 4U));
  scene.layers = within(1, 3);
  scene.rows = within(0, 8);
  scene.leaves = within(1, 9);
  scene.splits = prng.below(2) == 0;
  for (uint32_t rank = 0; rank < scene.ranks; ++rank) {
    const uint32_t last = rank == 0 ? 0 : scene.topology.node_of.back();
    scene.topology.node_of.push_back(rank == 0 ? 0 : last + within(0, 1));
  }
  for (uint32_t layer = 0; layer < scene.layers; ++layer) scene_parts::draw_layer(scene, prng);
  for (uint32_t rank = 0; rank < scene.ranks; ++rank) {
    const auto [first, last] = scene.leaves_of(rank);
    scene_parts::add_nodes(0, scene.leaves, first, last, scene.nodes_of_rank.emplace_back());
  }
  return scene;
}

// --- The model

inline Rows first_rows(const Scene& scene) {
  Prng prng(scene.seed + 1);
  Rows rows(scene.rows, std::vector<float>(scene.hidden));
  for (auto& row : rows) {
    for (float& value : row) value = static_cast<float>(prng.uniform()) - 0.5F;
  }
  return rows;
}

inline std::vector<RoutedExpert> route(const Scene& scene, uint32_t layer,
                                       std::span<const float> row) {
  Prng prng(hash_bytes(std::as_bytes(row)) + layer);
  const auto order = scene_parts::shuffled(scene.experts, prng);
  std::vector<RoutedExpert> routed(scene.top_k);
  for (uint32_t i = 0; i < scene.top_k; ++i) {
    routed[i] = {order[i], static_cast<float>(prng.uniform())};
  }
  return routed;
}

inline std::vector<float> expert_output(std::span<const float> row, uint16_t expert, float gate) {
  std::vector<float> out(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    out[i] = gate * (row[(i + expert) % row.size()] * 0.7F + 0.01F * static_cast<float>(expert));
  }
  return out;
}

inline float leaf_square(std::span<const float> row, uint32_t leaf) {
  const float value = row[leaf % row.size()];
  return value * value;
}

// Of a head, scaled by the sum of all heads' squares.
inline std::vector<float> head_output(std::span<const float> row, uint32_t leaf,
                                      std::span<const float> squares) {
  float sum = 1;
  for (const float square : squares) sum += square;
  std::vector<float> out(row.size());
  for (size_t i = 0; i < row.size(); ++i) {
    out[i] = row[(3 * i + leaf) % row.size()] * (0.3F + static_cast<float>(leaf)) / sum;
  }
  return out;
}

// Rows at their places, summed along the tree.
inline std::vector<float> tree_total(std::vector<std::pair<uint32_t, std::vector<float>>> parts,
                                     uint32_t leaves) {
  std::ranges::sort(parts, {}, [](const auto& part) { return part.first; });
  std::vector<uint32_t> places;
  std::vector<float*> rows;
  for (auto& [place, row] : parts) {
    places.push_back(place);
    rows.push_back(row.data());
  }
  const auto width = static_cast<uint32_t>(parts.front().second.size());
  const float* sum = combine_token(**select_kernels(""), {places, rows}, leaves, width);
  return {sum, sum + width};
}

inline void add_update(std::span<float> row, std::span<const float> update) {
  for (size_t i = 0; i < row.size(); ++i) row[i] = 0.5F * row[i] + update[i];
}

// The model on one rank.
inline Rows right_rows(const Scene& scene) {
  Rows rows = first_rows(scene);
  for (uint32_t layer = 0; layer < scene.layers; ++layer) {
    for (auto& row : rows) {
      std::vector<std::pair<uint32_t, std::vector<float>>> parts;
      std::vector<float> squares;
      for (uint32_t leaf = 0; leaf < scene.leaves; ++leaf) {
        squares.push_back(leaf_square(row, leaf));
      }
      for (uint32_t leaf = 0; leaf < scene.leaves; ++leaf) {
        parts.emplace_back(leaf, head_output(row, leaf, squares));
      }
      if (scene.splits) row = tree_total(std::move(parts), scene.leaves);
      parts.clear();
      for (const RoutedExpert& routed : route(scene, layer, row)) {
        parts.emplace_back(scene.place_of[layer][routed.expert],
                           expert_output(row, routed.expert, routed.gate_weight));
      }
      add_update(row, tree_total(std::move(parts), scene.experts));
    }
  }
  return rows;
}

}  // namespace switchyard
