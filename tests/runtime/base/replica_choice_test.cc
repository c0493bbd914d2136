#include "runtime/base/replica_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <set>
#include <tuple>
#include <vector>

#include "runtime/base/prng.h"

namespace switchyard {
namespace {

using Holders = std::vector<uint64_t>;

// Picks that one rank holds, and with chance `replicas` another, and another.
Holders random_holders(uint32_t picks, uint32_t ranks, double replicas, Prng& prng) {
  Holders holders(picks);
  for (uint64_t& mask : holders) {
    do {
      mask |= uint64_t{1} << prng.below(ranks);
    } while (prng.uniform() < replicas);
  }
  return holders;
}

std::vector<uint8_t> choice(const Holders& holders, uint32_t owner,
                            const std::vector<uint64_t>& loads = {}, const Holders& present = {}) {
  std::vector<uint8_t> chosen(holders.size());
  choose_holders(holders, owner, chosen, loads, present);
  return chosen;
}

uint32_t copies(const std::vector<uint8_t>& chosen, uint32_t owner) {
  uint64_t ranks = 0;
  for (const uint8_t rank : chosen) ranks |= uint64_t{1} << rank;
  return static_cast<uint32_t>(
      std::popcount(owner < kNoOwner ? ranks & ~(uint64_t{1} << owner) : ranks));
}

// The fewest copies that there are, out of all sets of ranks.
uint32_t fewest(const Holders& holders, uint32_t ranks, uint32_t owner) {
  uint32_t best = ranks;
  for (uint64_t set = 0; set < uint64_t{1} << ranks; ++set) {
    const uint64_t free = owner < kNoOwner ? uint64_t{1} << owner : 0;
    const auto held = [&](uint64_t mask) { return (mask & (set | free)) != 0; };
    if (std::ranges::all_of(holders, held)) {
      best = std::min(best, static_cast<uint32_t>(std::popcount(set & ~free)));
    }
  }
  return best;
}

TEST(ReplicaChoice, ChoosesHoldersAndHardlyEverMoreRanksThanTheFewest) {
  Prng prng(1);
  int more = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto ranks = static_cast<uint32_t>(1 + prng.below(8));
    const auto picks = static_cast<uint32_t>(1 + prng.below(10));
    const Holders holders = random_holders(picks, ranks, prng.uniform() / 2, prng);
    const auto owner = prng.below(9) == 0 ? kNoOwner : static_cast<uint32_t>(prng.below(ranks));
    const auto chosen = choice(holders, owner);
    for (size_t pick = 0; pick < holders.size(); ++pick) {
      ASSERT_NE(holders[pick] >> chosen[pick] & 1, 0u);
    }
    const uint32_t least = fewest(holders, ranks, owner);
    ASSERT_LE(copies(chosen, owner), least + 1);
    ASSERT_LE(copies(chosen, owner), copies_needed(holders, owner));
    more += copies(chosen, owner) > least;
  }
  EXPECT_LT(more, 20);
}

TEST(ReplicaChoice, IsNeverWorseThanTheFirstHolderOfEach) {
  Prng prng(2);
  for (int i = 0; i < 4000; ++i) {
    const Holders holders = random_holders(8, 64, 0.2, prng);
    const auto owner = static_cast<uint32_t>(prng.below(64));
    std::vector<uint8_t> first;
    for (const uint64_t mask : holders) {
      const bool own = (mask >> owner & 1) != 0;
      first.push_back(static_cast<uint8_t>(own ? owner : std::countr_zero(mask)));
    }
    ASSERT_LE(copies(choice(holders, owner), owner), copies(first, owner));
  }
}

TEST(ReplicaChoice, TheOwnersOwnCopiesAreFree) {
  const Holders holders = {0b0011, 0b0110, 0b0001};
  EXPECT_THAT(choice(holders, 0), testing::ElementsAre(0, 1, 0));
  EXPECT_THAT(choice({0b0011, 0b0110}, 1), testing::ElementsAre(1, 1));
  EXPECT_EQ(copies_needed({{0b0011, 0b0110}}, 1), 0u);
  EXPECT_EQ(copies_needed({{0b0011, 0b0110}}, 3), 1u);
  EXPECT_EQ(copies_needed({{uint64_t{1} << 63, 1}}, 63), 1u);
}

TEST(ReplicaChoice, TakesWhatLaterRanksMadeSuperfluousOutAgain) {
  // Rank 2 holds four, but 0 and 1 hold everything.
  const Holders holders = {0b01001, 0b00101, 0b00101, 0b00110, 0b00110, 0b10010};
  EXPECT_EQ(copies(choice(holders, kNoOwner), kNoOwner), 2u);
}

TEST(ReplicaChoice, TiesGoBehindTheOwnerOrToTheLeastLoaded) {
  EXPECT_THAT(choice({0b1110}, 0), testing::ElementsAre(1));
  EXPECT_THAT(choice({0b1011}, 2), testing::ElementsAre(3));
  EXPECT_THAT(choice({0b0011}, 63), testing::ElementsAre(0));
  EXPECT_THAT(choice({0b1110}, 0, {0, 5, 9, 4}), testing::ElementsAre(3));
  // Rank 1 is visited anyway and has less to do than the owner.
  EXPECT_THAT(choice({0b0010, 0b0011}, 0, {7, 3}), testing::ElementsAre(1, 1));
}

using Ranks = std::set<uint32_t>;

bool holds(const Holders& holders, size_t pick, uint32_t rank) {
  return (holders[pick] >> rank & 1) != 0;
}

std::vector<size_t> uncovered(const Holders& holders, const Ranks& used) {
  std::vector<size_t> open;
  for (size_t pick = 0; pick < holders.size(); ++pick) {
    const auto has = [&](uint32_t rank) { return holds(holders, pick, rank); };
    if (std::ranges::none_of(used, has)) open.push_back(pick);
  }
  return open;
}

// The same choice in plain steps, each over all ranks: fewest ranks, then memory, then load.
std::vector<uint8_t> slow_choice(const Holders& holders, uint32_t owner,
                                 const std::vector<uint64_t>& loads, const Holders& present) {
  Ranks used = {owner}, added;
  for (const uint64_t mask : holders) {
    if (std::popcount(mask) == 1) used.insert(static_cast<uint32_t>(std::countr_zero(mask)));
  }
  const auto all = [&] {
    Ranks both = used;
    both.insert(added.begin(), added.end());
    return both;
  };
  for (auto open = uncovered(holders, all()); !open.empty(); open = uncovered(holders, all())) {
    std::vector<std::tuple<int, int, uint64_t, uint32_t>> ranks;  // the least is best
    for (uint32_t rank = 0; rank < loads.size(); ++rank) {
      int covers = 0, there = 0;
      for (const size_t pick : open) {
        covers += holds(holders, pick, rank) ? 1 : 0;
        there += holds(holders, pick, rank) && holds(present, pick, rank) ? 1 : 0;
      }
      ranks.emplace_back(-covers, -there, loads[rank], rank);
    }
    added.insert(std::get<3>(std::ranges::min(ranks)));
  }
  for (const uint32_t rank : Ranks(added)) {
    added.erase(rank);
    if (!uncovered(holders, all()).empty()) added.insert(rank);
  }
  std::vector<uint8_t> chosen;
  for (size_t pick = 0; pick < holders.size(); ++pick) {
    std::vector<std::tuple<bool, uint64_t, uint32_t>> ranks;
    for (const uint32_t rank : all()) {
      if (holds(holders, pick, rank)) {
        ranks.emplace_back(!holds(present, pick, rank), loads[rank], rank);
      }
    }
    chosen.push_back(static_cast<uint8_t>(std::get<2>(std::ranges::min(ranks))));
  }
  return chosen;
}

TEST(ReplicaChoice, TakesFewRanksThenMemoryThenLoadAsTheSlowReferenceDoes) {
  Prng prng(5);
  uint64_t there = 0, there_blind = 0;
  for (int i = 0; i < 4000; ++i) {
    const auto ranks = static_cast<uint32_t>(2 + prng.below(7));
    const auto picks = static_cast<uint32_t>(1 + prng.below(10));
    const Holders holders = random_holders(picks, ranks, prng.uniform() / 2, prng);
    const auto owner = static_cast<uint32_t>(prng.below(ranks));
    Holders present;
    for (const uint64_t mask : holders) present.push_back(mask & prng.next());
    std::vector<uint64_t> loads(ranks);
    for (uint64_t& load : loads) load = prng.below(4);
    const auto chosen = choice(holders, owner, loads, present);
    ASSERT_EQ(chosen, slow_choice(holders, owner, loads, present));
    ASSERT_LE(copies(chosen, owner), fewest(holders, ranks, owner) + 1) << "memory costs no copy";
    const auto blind = choice(holders, owner, loads);
    for (size_t pick = 0; pick < picks; ++pick) {
      there += holds(present, pick, chosen[pick]) ? 1 : 0;
      there_blind += holds(present, pick, blind[pick]) ? 1 : 0;
    }
  }
  EXPECT_GT(there, there_blind + there_blind / 20);
}

TEST(ReplicaChoice, WhatIsInMemoryComesBeforeLoad) {
  EXPECT_THAT(choice({0b0110}, 0, {0, 1, 9}, {0b0100}), testing::ElementsAre(2));
  EXPECT_THAT(choice({0b0110}, 0, {0, 1, 9}, {0}), testing::ElementsAre(1));
  // Rank 1 is visited anyway: a second copy would cost more than a read.
  EXPECT_THAT(choice({0b0010, 0b0110}, 0, {0, 9, 0}, {0, 0b0100}), testing::ElementsAre(1, 1));
  EXPECT_THAT(choice({0b0010, 0b0011}, 0, {0, 0}, {0, 0b0010}), testing::ElementsAre(1, 1))
      << "not in the owner's memory";
}

TEST(SavingOwners, AreThoseWithTheFewestCopies) {
  EXPECT_EQ(saving_owners({}), 0u);
  EXPECT_EQ(saving_owners({{0b0001, 0b0100, 0b0001}}), 0b0101u) << "without replicas: all needed";
  // Rank 0 holds the first alone; the second lies where the third must be computed anyway.
  EXPECT_EQ(saving_owners({{0b0001, 0b1100, 0b0100}}), 0b0101u);
  Prng prng(3);
  for (int i = 0; i < 1000; ++i) {
    const Holders holders = random_holders(4, 6, 0.3, prng);
    const uint64_t saving = saving_owners(holders);
    ASSERT_NE(saving, 0u);
    const auto best = static_cast<uint32_t>(std::countr_zero(saving));
    for (uint32_t owner = 0; owner < 6; ++owner) {
      const bool least = copies_needed(holders, owner) == copies_needed(holders, best);
      ASSERT_EQ((saving >> owner & 1) != 0, least);
      ASSERT_GE(copies_needed(holders, owner), copies_needed(holders, best));
    }
  }
}

}  // namespace
}  // namespace switchyard
