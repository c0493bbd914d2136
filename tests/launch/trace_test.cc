// The trace command and the page it draws.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "launch/html_page.h"
#include "runtime/base/json.h"
#include "tests/launch/program.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;

const std::string kTrace = SWITCHYARD_TEST_DATA "/traces/qwen3-30b-a3b.csv";

TEST(TraceCommand, TellsTheFigures) {
  const Answer answer = run({"trace", kTrace});
  EXPECT_EQ(answer.code, 0) << answer.err;
  EXPECT_THAT(answer.err, IsEmpty());
  EXPECT_THAT(answer.out, HasSubstr("1 request, 4 steps, 2 prompt tokens and 2 generated"));
  EXPECT_THAT(answer.out, HasSubstr("48 layers of 128, top-6"));
  for (const char* name : {"popularity", "reuse distance", "working set", "skew by layer"}) {
    EXPECT_THAT(answer.out, HasSubstr(name));
  }
}

TEST(TraceCommand, TellsThemAsJson) {
  const Answer answer = run({"trace", kTrace, "--json", "-"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  const auto json = parse_json(answer.out, "out");
  ASSERT_TRUE(json) << to_line(json.error());
  EXPECT_EQ((*json)["uses"], 282 + 3 * 288);
  EXPECT_EQ((*json)["experts"]["count"], 6144);
  EXPECT_EQ((*json)["layers"].size(), 48U);
  EXPECT_EQ((*json)["layers"][47]["picks"], 3 * 6);
  uint64_t uses = (*json)["reuse"]["first_uses"];
  for (const auto& bucket : (*json)["reuse"]["histogram"]) uses += bucket["uses"].get<uint64_t>();
  EXPECT_EQ(uses, (*json)["uses"]);
  EXPECT_EQ((*json)["working_set"][3]["max"], (*json)["experts"]["used"]);
}

TEST(TraceCommand, DrawsOnePageWithNothingFromOutside) {
  const TempFolder folder;
  const Answer answer = run({"trace", kTrace, "--html", folder / "page.html"});
  EXPECT_EQ(answer.code, 0) << answer.err;
  const std::string page = read_text(folder / "page.html");
  for (const char* title :
       {"Popularity", "Reuse distance", "Working set", "Skew by layer", "Picks"}) {
    EXPECT_THAT(page, HasSubstr(std::string(">") + title + "</title>"));
  }
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme:dark"));
  for (const char* outside : {"<script", "http:", "https:", "url(", "src=", "nan", "inf,"}) {
    EXPECT_THAT(page, Not(HasSubstr(outside))) << outside;
  }
}

TEST(TraceCommand, FailsByName) {
  const TempFolder folder;
  EXPECT_EQ(run({"trace", folder / "none"}).code, 66);
  write_text(folder / "bad.csv", "# n_expert=4\nturn,phase,step,layer,slot,expert,weight\n0,0\n");
  const Answer bad = run({"trace", folder / "bad.csv"});
  EXPECT_EQ(bad.code, 65);
  EXPECT_THAT(bad.err, HasSubstr("bad.csv line 3: 2 fields, not 7"));
  EXPECT_EQ(run({"trace", kTrace, "--html", folder / "none/page.html"}).code, 74);
  EXPECT_EQ(run({"trace"}).code, 2);
}

TEST(HtmlPage, AHeatMapIsDarkestWhereItIsMost) {
  HtmlPage page("map");
  page.chart(HeatMap{"Map", "d", "x", "y", {{0, 1, 4}, {2, 0, 0}}});
  const std::string text = page.text();
  EXPECT_THAT(text, HasSubstr("fill-opacity=\"1.00\" d=\"M490.7 12.0h213.3v120.0h-213.3z\""));
  EXPECT_THAT(text, HasSubstr("fill-opacity=\"0.50\" d=\"M64.0 132.0h213.3v120.0h-213.3z\""));
  EXPECT_THAT(text, HasSubstr("fill-opacity=\"0.25\" d=\"M277.3 12.0"));
  page.chart(HeatMap{});
  EXPECT_THAT(page.text(), Not(HasSubstr("nan")));
}

TEST(HtmlPage, EscapesWhatItIsGiven) {
  EXPECT_EQ(html_text("a<b>&\"'\n\xc3\xa9"), "a&lt;b&gt;&amp;&quot;&#39;?\xc3\xa9");
  EXPECT_EQ(html_text("\xff"), "?");
  HtmlPage page("<i>");
  page.table("<t>", {{"<a>"}, {"<b>"}});
  page.chart(BarChart{"<c>", "<d>", "<x>", "<y>", {{"<e>", 1}}});
  page.chart(LineChart{"<c>", "<d>", "<x>", "<y>", {{"<l>", {{0, 1}}}, {"<m>", {}}}});
  for (const char* raw : {"<i>", "<t>", "<a>", "<b>", "<c>", "<d>", "<x>", "<y>", "<e>", "<l>"}) {
    EXPECT_THAT(page.text(), Not(HasSubstr(raw)));
  }
  EXPECT_THAT(page.text(), HasSubstr("&lt;l&gt;"));
}

// Half of the top lies half way up.
TEST(HtmlPage, BarsAreAsHighAsTheirValues) {
  HtmlPage page("bars");
  page.chart(BarChart{"t", "d", "x", "y", {{"a", 10}, {"b", 5}, {"c", 0}}});
  for (const char* height : {"height=\"240.0\"", "height=\"120.0\"", "height=\"0.0\""}) {
    EXPECT_THAT(page.text(), HasSubstr(height));
  }
}

}  // namespace
}  // namespace switchyard
