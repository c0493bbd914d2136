// The command that fits the linear predictor.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "experts/predictors/registry.h"
#include "experts/trace_file.h"
#include "runtime/base/json.h"
#include "tests/launch/program.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

// 100 tokens of two layers, whose second takes the first one's expert's neighbour.
void write_trace(const std::string& path, int tokens) {
  TraceShape shape;
  shape.layers = {0, 1};
  shape.experts = 8;
  shape.top_k = 1;
  TraceWriter writer = *TraceWriter::append(path, shape, "model");
  for (int i = 0; i < tokens; ++i) {
    const auto expert = static_cast<uint16_t>(i * 5 % 8);
    RoutingStep step;
    step.phase = TracePhase::kDecode;
    step.tokens = {i};
    step.routed = {{expert, 1}, {static_cast<uint16_t>((expert + 1) % 8), 1}};
    ASSERT_TRUE(writer.add(step));
  }
}

TEST(FitPredictor, WritesAFileThatThePredictorReads) {
  const TempFolder folder;
  const std::string trace = folder / "run.route", out = folder / "maps";
  write_trace(trace, 100);
  const Answer text = run({"fit-predictor", "--trace", trace, "--out", out});
  EXPECT_EQ(text.code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("fitted to 80 tokens; of the experts of the 20 held out, the "
                                  "best 1 hold 100.0 % one layer ahead"));
  const std::string first = read_text(out);
  const Answer json = run({"fit-predictor", "--trace", trace, "--out", out, "--json", "-"});
  EXPECT_EQ(json.code, 0) << json.err;
  EXPECT_EQ(read_text(out), first);
  const auto figures = parse_json(json.out, "out");
  ASSERT_TRUE(figures) << json.out;
  EXPECT_EQ((*figures)["recall"]["one_ahead"], 1);
  EXPECT_EQ((*figures)["tokens"]["held_out"], 20);
  const auto predictor = make_predictor("linear:" + out, {.layers = 2, .experts = 8, .top_k = 1});
  EXPECT_TRUE(predictor) << to_line(predictor.error());
}

TEST(FitPredictor, FailsByName) {
  const TempFolder folder;
  const std::string trace = folder / "run.route", out = folder / "maps";
  EXPECT_EQ(run({"fit-predictor"}).code, 2);
  EXPECT_EQ(run({"fit-predictor", "--trace", trace}).code, 2);
  EXPECT_EQ(run({"fit-predictor", "--trace", trace, "--out", out}).code, 66);
  write_trace(trace, 5);
  const Answer small = run({"fit-predictor", "--trace", trace, "--out", out});
  EXPECT_EQ(small.code, 65);
  EXPECT_THAT(small.err, HasSubstr(trace));
  EXPECT_FALSE(std::filesystem::exists(out));
  write_trace(trace, 20);
  EXPECT_EQ(run({"fit-predictor", "--trace", trace, "--out", folder / "none/maps"}).code, 74);
}

}  // namespace
}  // namespace switchyard
