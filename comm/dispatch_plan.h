#pragma once

// Which rows go to which ranks, and what comes back. Pure.
//
// A token's experts of a layer are leaves of the expert tree; those of one node whose active leaves
// all lie on one rank come back as one partial, which that rank has already summed along the tree.

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/base/routed_expert.h"

namespace switchyard {

inline constexpr uint32_t kTopKMax = 256;

// One of a token's experts: where it is computed, and in which of the token's partials it is.
struct PlannedPick {
  uint16_t expert = 0;
  uint8_t rank = 0;
  uint8_t part = 0;
  float gate_weight = 0;
};

struct DispatchInput {
  std::span<const RoutedExpert> routed;  // [rows, top_k], a row's distinct
  uint32_t top_k = 0;
  std::span<const uint16_t> place_of;  // [experts] leaves of the expert tree
  std::span<const uint64_t> holders;   // [experts] ranks that have it, a bit each
  // [experts] of the holders, those that have it in memory; empty: not known. They are asked rather
  // than others where that costs no copy of a row.
  std::span<const uint64_t> present = {};
  uint32_t rank = 0;  // where the rows are
  uint32_t ranks = 1;
};

struct DispatchPlan {
  uint32_t top_k = 0;
  std::span<const uint16_t> place_of;  // the input's
  std::vector<PlannedPick> picks;      // [rows][top_k], a row's along the tree
  uint64_t copies_out = 0;             // rows to other ranks, each once a rank

  uint32_t rows() const { return static_cast<uint32_t>(picks.size() / top_k); }
  std::span<const PlannedPick> of(uint32_t row) const {
    return std::span(picks).subspan(size_t{row} * top_k, top_k);
  }
};

// `input.place_of` outlives the plan.
DispatchPlan plan_dispatch(const DispatchInput& input);

// How many partials `rank` returns for a row of these picks.
uint32_t parts_on(std::span<const PlannedPick> picks, uint32_t rank);

// The stretches of a row's picks that are the active leaves of a largest node of the tree whose
// active leaves all lie on ranks of `node`: its partials once that node's ranks have merged theirs.
// `node_of`: [ranks].
std::vector<std::span<const PlannedPick>> node_parts(std::span<const uint32_t> node_of,
                                                     std::span<const PlannedPick> picks,
                                                     std::span<const uint16_t> place_of,
                                                     uint32_t node);

}  // namespace switchyard
