#include "runtime/base/spans.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>
#include <nlohmann/json.hpp>

namespace switchyard {
namespace {

TEST(Spans, WritesWhatAViewerReads) {
  Spans spans;
  spans.name_track(1, "reads 1");
  spans.add(1, "read 0.7", 10.5, 10.75);
  spans.add(0, "attention 0", 10.25, 10.5);
  const std::string path = testing::TempDir() + "spans_test.json";
  ASSERT_TRUE(spans.write(path));
  std::ifstream file(path);
  const auto json = nlohmann::json::parse(file);
  std::remove(path.c_str());
  int complete = 0;
  for (const auto& event : json["traceEvents"]) {
    if (event["ph"] != "X") continue;
    complete += 1;
    if (event["name"] != "read 0.7") continue;
    EXPECT_EQ(event["tid"], 1);
    EXPECT_DOUBLE_EQ(event["ts"], 250'000);
    EXPECT_DOUBLE_EQ(event["dur"], 250'000);
  }
  EXPECT_EQ(complete, 2);
}

TEST(Spans, AreBounded) {
  Spans spans;
  for (size_t i = 0; i < Spans::kSpansMax + 5; ++i) spans.add(0, "x", 0, 1);
  EXPECT_EQ(spans.dropped(), 5u);
}

TEST(Spans, AFolderThatIsNotThereIsAnError) { EXPECT_FALSE(Spans().write("/nowhere/at/all.json")); }

}  // namespace
}  // namespace switchyard
