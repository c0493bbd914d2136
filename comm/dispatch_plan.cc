#include "comm/dispatch_plan.h"

#include <algorithm>
#include <bit>

#include "runtime/base/check.h"
#include "runtime/base/tree.h"

namespace switchyard {
namespace {

// Of the ranks that hold an expert: the row's own, else one that the row visits anyway, else the
// first.
uint8_t choose_rank(uint64_t holders, uint64_t visited, uint32_t own) {
  if ((holders >> own & 1) != 0) return static_cast<uint8_t>(own);
  const uint64_t both = holders & visited;
  return static_cast<uint8_t>(std::countr_zero(both != 0 ? both : holders));
}

void choose_ranks(const DispatchInput& input, std::span<PlannedPick> picks) {
  uint64_t visited = uint64_t{1} << input.rank;
  for (const PlannedPick& pick : picks) {
    const uint64_t holders = input.holders[pick.expert];
    CHECK_THAT(holders != 0, "expert {} is nowhere", pick.expert);
    if (std::has_single_bit(holders)) visited |= holders;
  }
  for (PlannedPick& pick : picks) {
    pick.rank = choose_rank(input.holders[pick.expert], visited, input.rank);
    visited |= uint64_t{1} << pick.rank;
  }
}

// Numbers the partials of `picks`, all leaves of the node [begin, end), from `part` on; returns the
// next number.
uint8_t number_parts(const DispatchInput& input, std::span<PlannedPick> picks, uint32_t begin,
                     uint32_t end, uint8_t part) {
  const auto elsewhere = [&](const PlannedPick& pick) { return pick.rank != picks[0].rank; };
  if (std::none_of(picks.begin(), picks.end(), elsewhere)) {
    for (PlannedPick& pick : picks) pick.part = part;
    return static_cast<uint8_t>(part + 1);
  }
  const uint32_t split = tree_split(begin, end);
  size_t left = 0;
  while (left < picks.size() && input.place_of[picks[left].expert] < split) ++left;
  if (left > 0) part = number_parts(input, picks.first(left), begin, split, part);
  if (left < picks.size()) part = number_parts(input, picks.subspan(left), split, end, part);
  return part;
}

}  // namespace

uint64_t DispatchPlan::copies_out() const {
  uint64_t copies = 0;
  for (uint32_t to = 0; to < rows_for.size(); ++to) copies += to == rank ? 0 : rows_for[to].size();
  return copies;
}

uint64_t DispatchPlan::copies_back() const {
  uint64_t copies = 0;
  for (uint32_t to = 0; to < rows_for.size(); ++to) copies += to == rank ? 0 : parts_from[to];
  return copies;
}

uint32_t parts_on(std::span<const PlannedPick> picks, uint32_t rank) {
  uint32_t parts = 0;
  const PlannedPick* last = nullptr;
  for (const PlannedPick& pick : picks) {
    if (pick.rank == rank && (last == nullptr || last->part != pick.part)) ++parts;
    if (pick.rank == rank) last = &pick;
  }
  return parts;
}

DispatchPlan plan_dispatch(const DispatchInput& input) {
  CHECK(input.top_k > 0 && input.routed.size() % input.top_k == 0);
  DispatchPlan plan{.rank = input.rank,
                    .top_k = input.top_k,
                    .picks = {},
                    .rows_for = std::vector<std::vector<uint32_t>>(input.ranks),
                    .parts_from = std::vector<uint32_t>(input.ranks)};
  plan.picks.reserve(input.routed.size());
  for (const RoutedExpert& routed : input.routed) {
    plan.picks.push_back({.expert = routed.expert, .gate_weight = routed.gate_weight});
  }
  const auto by_place = [&](const PlannedPick& a, const PlannedPick& b) {
    return input.place_of[a.expert] < input.place_of[b.expert];
  };
  for (uint32_t row = 0; row < plan.rows(); ++row) {
    const auto picks = std::span(plan.picks).subspan(size_t{row} * input.top_k, input.top_k);
    std::sort(picks.begin(), picks.end(), by_place);
    choose_ranks(input, picks);
    number_parts(input, picks, 0, static_cast<uint32_t>(input.place_of.size()), 0);
    const PlannedPick* last = nullptr;
    for (const PlannedPick& pick : picks) {
      std::vector<uint32_t>& rows = plan.rows_for[pick.rank];
      if (rows.empty() || rows.back() != row) rows.push_back(row);
      if (last == nullptr || last->part != pick.part) plan.parts_from[pick.rank] += 1;
      last = &pick;
    }
  }
  return plan;
}

}  // namespace switchyard
