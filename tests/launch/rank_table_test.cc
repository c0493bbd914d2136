#include "launch/rank_table.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "comm/loopback_world.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

TEST(RankTable, ProcessorsAreListedInStretches) {
  EXPECT_EQ(processor_list({}), "");
  EXPECT_EQ(processor_list({3}), "3");
  EXPECT_EQ(processor_list({0, 1, 2, 3, 8, 10, 11}), "0-3,8,10-11");
}

RankPlace place(const char* host, std::vector<uint32_t> processors) {
  return {.host = host, .processors = std::move(processors), .memory_bytes = 1};
}

RankTable table_of(std::vector<RankPlace> ranks) {
  return {.ranks = std::move(ranks), .links = {.round_seconds = 2e-5, .seconds_per_byte = 5e-10}};
}

TEST(RankTable, RanksWithProcessorsOfTheirOwnAreFine) {
  const auto checks = check_ranks(
      table_of({place("a", {0}), place("a", {1}), place("b", {0}), place("b", {0, 1})}));
  ASSERT_EQ(checks.size(), 1U);
  EXPECT_THAT(checks[0].value, HasSubstr("4 ranks takes 20 us, a rank sends 2.00 GB/s"));
  EXPECT_EQ(check_ranks(table_of({place("a", {0, 1}), place("a", {0, 1})})).size(), 1U)
      << "not bound";
  EXPECT_EQ(check_ranks(table_of({place("a", {}), place("a", {})})).size(), 1U) << "not known";
}

TEST(RankTable, RanksOnTheSameProcessorsAreNamed) {
  const auto checks =
      check_ranks(table_of({place("a", {0}), place("b", {0, 1}), place("a", {0}),
                            place("b", {1, 2}), place("b", {0, 1, 2}), place("a", {3})}));
  ASSERT_EQ(checks.size(), 2U);
  EXPECT_EQ(checks[1].state, CheckState::kLimited);
  EXPECT_EQ(checks[1].value, "0, 2 share processor 0 of a: they wait for each other");
  EXPECT_THAT(checks[1].mend, HasSubstr("--bind-to none"));
  const auto more = check_ranks(table_of({place("a", {0, 1}), place("a", {1}), place("a", {0})}));
  ASSERT_EQ(more.size(), 2U);
  EXPECT_THAT(more[1].value, HasSubstr("0, 1, 2 share processors 0-1 of a"));
}

TEST(RankTable, IsCollectedFromAllRanks) {
  const auto worlds = make_loopback(3);
  std::vector<std::thread> threads;
  for (uint32_t rank = 1; rank < 3; ++rank) {
    threads.emplace_back([&, rank] { EXPECT_TRUE(tell_place(*worlds[rank])); });
  }
  const auto table = collect_places(*worlds[0]);
  for (std::thread& thread : threads) thread.join();
  ASSERT_TRUE(table);
  ASSERT_EQ(table->ranks.size(), 3U);
  EXPECT_GT(table->links.round_seconds, 0);
  EXPECT_FALSE(table->ranks[2].host.empty());
  EXPECT_EQ(table->ranks[2].processors, table->ranks[0].processors);
  const Json json = places_json(*table);
  EXPECT_EQ(json.at("places").size(), 3U);
  EXPECT_EQ(json.at("places")[1].at("processors"), Json(table->ranks[1].processors));
  const std::string text = places_text(table->ranks);
  EXPECT_EQ(std::ranges::count(text, '\n'), 4);
  EXPECT_THAT(text, HasSubstr("\n2     " + table->ranks[2].host));
}

}  // namespace
}  // namespace switchyard
