#include "comm/dispatch_plan.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <set>
#include <vector>

#include "runtime/base/prng.h"
#include "runtime/base/tree.h"

namespace switchyard {
namespace {

struct Case {
  uint32_t experts = 8, top_k = 2, rows = 5, ranks = 3;
  std::vector<RoutedExpert> routed;
  std::vector<uint16_t> place_of;
  std::vector<uint64_t> holders;
  std::vector<uint64_t> present;
  uint32_t rank = 0;

  DispatchInput input() const { return {routed, top_k, place_of, holders, present, rank, ranks}; }
};

Case random_case(Prng& prng, bool replicas) {
  Case one;
  one.ranks = 1 + static_cast<uint32_t>(prng.below(8));
  one.experts = 1 + static_cast<uint32_t>(prng.below(40));
  one.top_k = 1 + static_cast<uint32_t>(prng.below(std::min(one.experts, 9U)));
  one.rows = static_cast<uint32_t>(prng.below(7));
  one.rank = static_cast<uint32_t>(prng.below(one.ranks));
  std::vector<uint16_t> shuffled(one.experts);
  std::iota(shuffled.begin(), shuffled.end(), uint16_t{0});
  const auto shuffle = [&] {
    for (size_t i = shuffled.size(); i > 1; --i)
      std::swap(shuffled[i - 1], shuffled[prng.below(i)]);
  };
  shuffle();
  one.place_of = shuffled;
  for (uint32_t expert = 0; expert < one.experts; ++expert) {
    uint64_t ranks = uint64_t{1} << prng.below(one.ranks);
    if (replicas && prng.below(3) == 0) ranks |= uint64_t{1} << prng.below(one.ranks);
    one.holders.push_back(ranks);
    if (replicas) one.present.push_back(ranks & prng.next());
  }
  for (uint32_t row = 0; row < one.rows; ++row) {
    shuffle();
    for (uint32_t i = 0; i < one.top_k; ++i) {
      one.routed.push_back({shuffled[i], static_cast<float>(prng.uniform())});
    }
  }
  return one;
}

// The partials of a row as the design has them: every largest node of the tree whose active leaves
// all lie on one rank, found by looking at every node. place → (node, rank).
std::map<uint32_t, std::pair<uint32_t, uint32_t>> slow_parts(const Case& of,
                                                             std::span<const PlannedPick> picks) {
  std::map<uint32_t, std::pair<uint32_t, uint32_t>> parts;  // place → first place of part, rank
  const auto visit = [&](const auto& self, uint32_t begin, uint32_t end) -> void {
    std::vector<uint32_t> places;
    std::set<uint32_t> ranks;
    for (const PlannedPick& pick : picks) {
      const uint32_t place = of.place_of[pick.expert];
      if (place < begin || place >= end) continue;
      places.push_back(place);
      ranks.insert(pick.rank);
    }
    if (places.empty()) return;
    if (ranks.size() == 1) {
      for (const uint32_t place : places) {
        parts[place] = {*std::min_element(places.begin(), places.end()), *ranks.begin()};
      }
      return;
    }
    const uint32_t split = tree_split(begin, end);
    self(self, begin, split);
    self(self, split, end);
  };
  visit(visit, 0, of.experts);
  return parts;
}

void expect_as_slow(const Case& one) {
  const DispatchPlan plan = plan_dispatch(one.input());
  ASSERT_EQ(plan.rows(), one.rows);
  uint64_t copies = 0;
  for (uint32_t row = 0; row < one.rows; ++row) {
    const auto picks = plan.of(row);
    const auto parts = slow_parts(one, picks);
    std::map<uint32_t, uint32_t> first_place;  // of each part
    std::multiset<std::pair<uint16_t, float>> expected, got;
    std::set<uint32_t> others;
    for (uint32_t i = 0; i < one.top_k; ++i) {
      const RoutedExpert& routed = one.routed[row * one.top_k + i];
      expected.insert({routed.expert, routed.gate_weight});
      got.insert({picks[i].expert, picks[i].gate_weight});
      const uint32_t place = one.place_of[picks[i].expert];
      if (i > 0) {
        EXPECT_LT(one.place_of[picks[i - 1].expert], place);
        EXPECT_LE(picks[i].part - picks[i - 1].part, 1);
      }
      EXPECT_TRUE(one.holders[picks[i].expert] >> picks[i].rank & 1);
      EXPECT_EQ(parts.at(place).second, picks[i].rank);
      first_place.try_emplace(picks[i].part, place);
      EXPECT_EQ(first_place.at(picks[i].part), parts.at(place).first);
      if (picks[i].rank != one.rank) others.insert(picks[i].rank);
    }
    EXPECT_EQ(expected, got);
    copies += others.size();
    std::set<std::pair<uint32_t, uint32_t>> distinct;
    for (const auto& [place, part] : parts) distinct.insert(part);
    for (uint32_t rank = 0; rank < one.ranks; ++rank) {
      const auto of_rank = std::count_if(distinct.begin(), distinct.end(),
                                         [&](const auto& part) { return part.second == rank; });
      EXPECT_EQ(parts_on(picks, rank), of_rank);
    }
  }
  EXPECT_EQ(plan.copies_out, copies);
}

TEST(DispatchPlan, IsWhatTheSlowReferenceFinds) {
  Prng prng(1);
  for (int i = 0; i < 3000; ++i) expect_as_slow(random_case(prng, i % 2 == 0));
}

// Two ranks have all experts, each in memory on one of them: no pick needs a read, however the tree
// lies, and nothing goes to a third.
TEST(DispatchPlan, PicksGoToTheReplicaThatIsInMemory) {
  Prng prng(3);
  for (int i = 0; i < 200; ++i) {
    Case one = random_case(prng, false);
    one.ranks = 3;
    one.rank = static_cast<uint32_t>(prng.below(2));
    for (uint32_t expert = 0; expert < one.experts; ++expert) {
      one.holders[expert] = 0b011 | (prng.below(4) == 0 ? 0b100U : 0);
      one.present.push_back(expert % 2 == 0 ? 0b001 : 0b010);
    }
    // A row that picks what the other rank alone has visits it anyway.
    one.holders[0] = uint64_t{1} << (1 - one.rank);
    const DispatchPlan plan = plan_dispatch(one.input());
    for (uint32_t row = 0; row < plan.rows(); ++row) {
      const auto picks = plan.of(row);
      const bool visits = std::ranges::any_of(picks, [](auto& pick) { return pick.expert == 0; });
      for (const PlannedPick& pick : picks) {
        if (pick.expert == 0) continue;
        EXPECT_EQ(pick.rank, visits ? pick.expert % 2 : one.rank);
      }
    }
  }
}

TEST(DispatchPlan, AlignedRanksReturnOneRowATokenAndRank) {
  Prng prng(2);
  for (const uint32_t ranks : {2U, 4U, 8U}) {
    Case one = random_case(prng, false);
    one.ranks = ranks;
    one.rank = 0;
    one.experts = 32;
    one.top_k = 6;
    one.rows = 50;
    one.place_of.resize(32);
    std::iota(one.place_of.begin(), one.place_of.end(), uint16_t{0});
    one.holders.clear();
    for (uint32_t expert = 0; expert < 32; ++expert) {
      one.holders.push_back(uint64_t{1} << (expert * ranks / 32));
    }
    one.routed.clear();
    for (uint32_t row = 0; row < one.rows; ++row) {
      std::set<uint16_t> chosen;
      while (chosen.size() < one.top_k) chosen.insert(static_cast<uint16_t>(prng.below(32)));
      for (const uint16_t expert : chosen) one.routed.push_back({expert, 1});
    }
    const DispatchPlan plan = plan_dispatch(one.input());
    uint64_t parts_back = 0;
    for (uint32_t row = 0; row < one.rows; ++row) {
      for (uint32_t rank = 1; rank < ranks; ++rank) parts_back += parts_on(plan.of(row), rank);
    }
    EXPECT_EQ(parts_back, plan.copies_out);
  }
}

}  // namespace
}  // namespace switchyard
