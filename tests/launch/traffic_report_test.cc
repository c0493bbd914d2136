#include "launch/traffic_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

using testing::HasSubstr;

std::vector<RankReport> two_ranks() {
  RankReport first{.experts = 5}, second{.experts = 3};
  first.traffic = {{},
                   {.tokens = 10,
                    .copies_out = 6,
                    .copies_needed = 6,
                    .copies_back = 6,
                    .picks = 20,
                    .picks_here = 12,
                    .computed = 15,
                    .steps = 4,
                    .bytes_to = {0, 600}}};
  second.traffic = {{},
                    {.tokens = 10,
                     .copies_out = 8,
                     .copies_needed = 8,
                     .copies_back = 8,
                     .picks = 20,
                     .picks_here = 8,
                     .computed = 25,
                     .steps = 4,
                     .bytes_to = {900, 0}}};
  return {first, second};
}

TEST(TrafficReport, AddsUpWhatRanksDid) {
  const TrafficSums sums = traffic_sums(two_ranks());
  EXPECT_DOUBLE_EQ(sums.copies_per_token(), 0.7);
  EXPECT_DOUBLE_EQ(sums.local_rate(), 0.5);
  EXPECT_DOUBLE_EQ(sums.imbalance(), 1.25);
  EXPECT_EQ(sums.all_bytes(), 1500u);
  EXPECT_EQ(sums.bytes[1][0], 900u);
  EXPECT_EQ(layout_used(Layout::kAuto, sums), "A");
}

TEST(TrafficReport, ASliceIsPartOfAnExpertsWork) {
  std::vector<RankReport> ranks = two_ranks();  // 15 and 25 experts of tokens
  ranks.push_back(ranks[1]);
  for (RankReport& rank : ranks) {
    for (LayerTraffic& layer : rank.traffic) layer.bytes_to.resize(3);
  }
  ranks[1].slices = ranks[2].slices = 2;
  EXPECT_DOUBLE_EQ(traffic_sums(ranks).imbalance(), 15.0 * 3 / 40);
  EXPECT_EQ(traffic_json(Layout::kA, ranks)["by_rank"][2]["slices"], 2);
}

TEST(TrafficReport, SaysWhatLayersReallyUsed) {
  std::vector<RankReport> ranks = two_ranks();
  ranks[0].traffic[1].gathers = 1;
  EXPECT_EQ(layout_used(Layout::kAuto, traffic_sums(ranks)), "A+C");
  ranks[0].traffic[1].gathers = 4;
  EXPECT_EQ(layout_used(Layout::kAuto, traffic_sums(ranks)), "C");
  EXPECT_EQ(layout_used(Layout::kB, traffic_sums(ranks)), "B");
}

TEST(TrafficReport, NamesTheBusiestLinkInWordsJsonAndPicture) {
  const Json json = traffic_json(Layout::kA, two_ranks());
  EXPECT_EQ(json["busiest_link"]["from"], 1);
  EXPECT_EQ(json["busiest_link"]["bytes"], 900);
  EXPECT_TRUE(json["layers"][0].is_null()) << "a layer without experts";
  EXPECT_EQ(json["layers"][1]["bytes"][0][1], 600);
  EXPECT_EQ(json["by_rank"][1]["experts"], 3);
  EXPECT_THAT(traffic_summary(Layout::kA, two_ranks()), HasSubstr("most from rank 1 to 0 (900 B)"));
  const std::string page = traffic_page(Layout::kA, two_ranks());
  EXPECT_THAT(page, HasSubstr("Layer 1"));
  EXPECT_THAT(page, testing::Not(HasSubstr("http")));
}

TEST(TrafficReport, TellsHowOftenAndWhenThePlacementChanged) {
  const std::vector<PlacementChange> changes = {
      {.tokens = 512, .busiest_before = 1.8, .busiest_after = 1.5},
      {.tokens = 1000, .busiest_before = 1.5, .busiest_after = 1.1}};
  const Json json = placement_json(changes);
  EXPECT_EQ(json["changes"], 2);
  EXPECT_EQ(json["history"][0]["after_tokens"], 512);
  EXPECT_EQ(json["history"][1]["after_tokens"], 1512);
  EXPECT_EQ(json["history"][1]["load_imbalance_before"], 1.5);
  EXPECT_EQ(json["history"][1]["load_imbalance_after"], 1.1);
  EXPECT_THAT(placement_summary(changes),
              HasSubstr("changed 2 times, last after 1512 tokens; busiest rank of a layer 1.50"));
  EXPECT_EQ(placement_summary({}), "");
}

TEST(TrafficReport, OfNothingIsNothing) {
  const std::vector<RankReport> idle(3);
  EXPECT_DOUBLE_EQ(traffic_sums(idle).imbalance(), 1);
  EXPECT_FALSE(traffic_summary(Layout::kA, idle).empty());
  EXPECT_FALSE(traffic_page(Layout::kA, idle).empty());
}

}  // namespace
}  // namespace switchyard
