#include "comm/dispatch_plan.h"

#include <algorithm>
#include <array>
#include <bit>

#include "runtime/base/check.h"
#include "runtime/base/replica_choice.h"
#include "runtime/base/tree.h"

namespace switchyard {
namespace {

// Ranks that may compute a row's picks, a bit each.
struct Candidates {
  std::array<uint64_t, kTopKMax> holders;
  std::array<uint64_t, kTopKMax> present;  // in memory
};

// Among the ranks that a row visits anyway, a pick goes where its neighbours in the tree are: what
// is summed there is one partial less to return. A read that it takes there costs more.
void join_neighbours(const Candidates& candidates, uint32_t own, std::span<uint8_t> chosen) {
  uint64_t visited = uint64_t{1} << own;
  for (const uint8_t rank : chosen) visited |= uint64_t{1} << rank;
  for (size_t i = 0; i < chosen.size(); ++i) {
    uint64_t open = candidates.holders[i] & visited;
    if ((open & candidates.present[i]) != 0) open &= candidates.present[i];
    const auto may_be = [&](uint8_t rank) { return (open >> rank & 1) != 0; };
    const bool before = i > 0 && may_be(chosen[i - 1]);
    const bool behind = i + 1 < chosen.size() && may_be(chosen[i + 1]);
    if (before && (!behind || chosen[i - 1] == chosen[i + 1] || chosen[i - 1] != own)) {
      chosen[i] = chosen[i - 1];
    } else if (behind) {
      chosen[i] = chosen[i + 1];
    }
  }
}

// Where each of a row's picks is computed. `loads` are picks given to each rank so far.
void choose_ranks(const DispatchInput& input, std::span<PlannedPick> picks,
                  std::vector<uint64_t>& loads) {
  Candidates candidates;
  std::array<uint8_t, kTopKMax> chosen;
  bool choice = false;
  const size_t count = picks.size();
  for (size_t i = 0; i < count; ++i) {
    const uint64_t holders = input.holders[picks[i].expert];
    CHECK_THAT(holders != 0, "expert {} is nowhere", picks[i].expert);
    candidates.holders[i] = holders;
    candidates.present[i] = input.present.empty() ? 0 : input.present[picks[i].expert];
    chosen[i] = static_cast<uint8_t>(std::countr_zero(holders));
    choice |= !std::has_single_bit(holders);
  }
  if (choice) {
    choose_holders(std::span(candidates.holders).first(count), input.rank,
                   std::span(chosen).first(count), loads,
                   std::span(candidates.present).first(count));
    join_neighbours(candidates, input.rank, std::span(chosen).first(count));
  }
  for (size_t i = 0; i < count; ++i) {
    picks[i].rank = chosen[i];
    loads[chosen[i]] += 1;
  }
}

// Calls part(stretch) for every stretch of `picks`, all leaves of the node [begin, end), that is a
// largest node of the tree whose active leaves are all alike.
template <class Pick, class Alike, class Part>
void visit_parts(std::span<const uint16_t> place_of, std::span<Pick> picks, uint32_t begin,
                 uint32_t end, const Alike& alike, const Part& part) {
  const auto other = [&](const PlannedPick& pick) { return !alike(pick, picks[0]); };
  if (std::none_of(picks.begin(), picks.end(), other)) return part(picks);
  const uint32_t split = tree_split(begin, end);
  size_t left = 0;
  while (left < picks.size() && place_of[picks[left].expert] < split) ++left;
  if (left > 0) visit_parts(place_of, picks.first(left), begin, split, alike, part);
  if (left < picks.size()) visit_parts(place_of, picks.subspan(left), split, end, alike, part);
}

}  // namespace

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
  CHECK(input.top_k > 0 && input.top_k <= kTopKMax && input.routed.size() % input.top_k == 0);
  DispatchPlan plan{.top_k = input.top_k, .place_of = input.place_of, .picks = {}};
  plan.picks.reserve(input.routed.size());
  for (const RoutedExpert& routed : input.routed) {
    plan.picks.push_back({.expert = routed.expert, .gate_weight = routed.gate_weight});
  }
  const auto by_place = [&](const PlannedPick& a, const PlannedPick& b) {
    return input.place_of[a.expert] < input.place_of[b.expert];
  };
  std::vector<uint64_t> loads(input.ranks);
  for (uint32_t row = 0; row < plan.rows(); ++row) {
    const auto picks = std::span(plan.picks).subspan(size_t{row} * input.top_k, input.top_k);
    std::sort(picks.begin(), picks.end(), by_place);
    choose_ranks(input, picks, loads);
    uint8_t next = 0;
    visit_parts(
        input.place_of, picks, 0, static_cast<uint32_t>(input.place_of.size()),
        [](const PlannedPick& a, const PlannedPick& b) { return a.rank == b.rank; },
        [&](std::span<PlannedPick> part) {
          for (PlannedPick& pick : part) pick.part = next;
          ++next;
        });
    uint64_t others = 0;
    for (const PlannedPick& pick : picks) others |= uint64_t{1} << pick.rank;
    others &= ~(uint64_t{1} << input.rank);
    plan.copies_out += static_cast<uint64_t>(std::popcount(others));
  }
  return plan;
}

std::vector<std::span<const PlannedPick>> node_parts(std::span<const uint32_t> node_of,
                                                     std::span<const PlannedPick> picks,
                                                     std::span<const uint16_t> place_of,
                                                     uint32_t node) {
  std::vector<std::span<const PlannedPick>> parts;
  visit_parts(
      place_of, picks, 0, static_cast<uint32_t>(place_of.size()),
      [&](const PlannedPick& a, const PlannedPick& b) {
        return node_of[a.rank] == node_of[b.rank];
      },
      [&](std::span<const PlannedPick> part) {
        if (node_of[part.front().rank] == node) parts.push_back(part);
      });
  return parts;
}

}  // namespace switchyard
