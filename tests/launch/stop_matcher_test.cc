#include "launch/stop_matcher.h"

#include <gtest/gtest.h>

#include <vector>

namespace switchyard {
namespace {

struct Outcome {
  std::string text;
  bool stopped = false;
  bool operator==(const Outcome&) const = default;
};

Outcome run(const std::vector<std::string>& stops, const std::vector<std::string>& pieces) {
  StopMatcher matcher(stops);
  Outcome outcome;
  for (const std::string& piece : pieces) outcome.text += matcher.push(piece);
  outcome.text += matcher.finish();
  outcome.stopped = matcher.stopped();
  return outcome;
}

// Every way to cut a short text in pieces gives the same.
Outcome run_all_cuts(const std::vector<std::string>& stops, const std::string& text) {
  const Outcome whole = run(stops, {text});
  for (uint32_t cuts = 0; cuts < (1U << (text.size() - 1)); ++cuts) {
    std::vector<std::string> pieces(1);
    for (size_t i = 0; i < text.size(); ++i) {
      pieces.back() += text[i];
      if ((cuts >> i & 1) != 0 && i + 1 < text.size()) pieces.emplace_back();
    }
    EXPECT_EQ(run(stops, pieces), whole) << "cuts " << cuts;
  }
  return whole;
}

TEST(StopMatcher, LetsEverythingThroughWithoutStops) {
  StopMatcher matcher({});
  EXPECT_EQ(matcher.push("abc"), "abc");
  EXPECT_EQ(matcher.finish(), "");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcher, ShowsAtOnceWhatCannotBecomeAStop) {
  StopMatcher matcher({"END"});
  EXPECT_EQ(matcher.push("xE"), "x");
  EXPECT_EQ(matcher.push("Ny"), "ENy");
  EXPECT_EQ(matcher.push("EN"), "");
  EXPECT_EQ(matcher.finish(), "EN");
}

TEST(StopMatcher, FindsAStopWhereverItWasCut) {
  EXPECT_EQ(run_all_cuts({"stop"}, "go-stop-on"), (Outcome{"go-", true}));
  EXPECT_EQ(run_all_cuts({"aab"}, "aaaab"), (Outcome{"aa", true}));
  EXPECT_EQ(run_all_cuts({"abab"}, "abaabb"), (Outcome{"abaabb", false}));
}

TEST(StopMatcher, TheFirstCompleteStopWins) {
  EXPECT_EQ(run_all_cuts({"abcd", "bc"}, "xabcd"), (Outcome{"xa", true}));
  EXPECT_EQ(run_all_cuts({"c", "bc"}, "xabcd"), (Outcome{"xa", true}));
}

TEST(StopMatcher, SaysNothingAfterItStopped) {
  StopMatcher matcher({"."});
  EXPECT_EQ(matcher.push("a.b"), "a");
  EXPECT_TRUE(matcher.stopped());
  EXPECT_EQ(matcher.push("c"), "");
  EXPECT_EQ(matcher.finish(), "");
}

}  // namespace
}  // namespace switchyard
