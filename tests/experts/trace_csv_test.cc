#include "experts/trace_csv.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "experts/trace_file.h"
#include "tests/experts/trace_testing.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

RoutingTrace excerpt(const std::string& name) {
  std::string warning;
  auto trace = read_trace(SWITCHYARD_TEST_DATA "/traces/" + name, warning);
  EXPECT_TRUE(trace) << to_line(trace.error());
  return trace ? *trace : RoutingTrace{};
}

size_t layers_recorded(const TraceShape& shape, const RoutingStep& step) {
  size_t count = 0;
  for (size_t layer = 0; layer < shape.layers.size(); ++layer) {
    count += step.at(shape, layer, 0).empty() ? 0 : 1;
  }
  return count;
}

TEST(TraceCsv, ReadsARecordedTrace) {
  const RoutingTrace trace = excerpt("qwen3-30b-a3b.csv");
  EXPECT_EQ(trace.model, "Qwen3-30B-A3B-Q4_K_M.gguf");
  EXPECT_EQ(trace.shape.layers.size(), 48U);
  EXPECT_EQ(trace.shape.layers.back(), 47);
  EXPECT_EQ(trace.shape.experts, 128U);
  EXPECT_EQ(trace.shape.top_k, 6U);
  ASSERT_EQ(trace.steps.size(), 4U);
  for (const RoutingStep& step : trace.steps) EXPECT_EQ(step.tokens, std::vector<TokenId>{-1});
  EXPECT_EQ(trace.steps[1].phase, TracePhase::kPrefill);
  EXPECT_EQ(trace.steps[2].phase, TracePhase::kDecode);
  // All but the prompt's last token skip the last layer there.
  EXPECT_EQ(layers_recorded(trace.shape, trace.steps[0]), 47U);
  EXPECT_EQ(layers_recorded(trace.shape, trace.steps[1]), 48U);
  EXPECT_EQ(layers_recorded(trace.shape, trace.steps[3]), 48U);
}

TEST(TraceCsv, ReadsAnotherModels) {
  const RoutingTrace trace = excerpt("gemma-4-26b-a4b.csv");
  EXPECT_EQ(trace.shape.layers.size(), 30U);
  EXPECT_EQ(trace.steps.size(), 2U);
  EXPECT_EQ(trace.shape.expert_bytes, 3940147U);  // the mean
}

TEST(TraceCsv, BecomesTheOtherForm) {
  const TempFolder folder;
  const RoutingTrace trace = excerpt("qwen3-30b-a3b.csv");
  {
    auto writer = TraceWriter::append(folder / "trace", trace.shape, trace.model);
    ASSERT_TRUE(writer) << to_line(writer.error());
    for (const RoutingStep& step : trace.steps) ASSERT_TRUE(writer->add(step));
  }
  std::string warning;
  const auto again = read_trace(folder / "trace", warning);
  ASSERT_TRUE(again) << to_line(again.error());
  EXPECT_EQ(again->shape, trace.shape);
  EXPECT_EQ(again->model, trace.model);
  EXPECT_TRUE(same_steps(again->steps, trace.steps));
}

const std::string kHead = "# n_expert=4\n# layer=1 expert_bytes=100\n# layer=3 expert_bytes=200\n";
const std::string kNames = "turn,phase,step,layer,slot,expert,weight\n";
const std::string kRows =
    "0,0,0,1,0,3,0.75\n"
    "0,0,0,1,1,0,0.25\n";

TEST(TraceCsv, RowsMayComeInAnyOrder) {
  const auto trace = parse_trace_csv(kHead +
                                         "weight,extra,turn,phase,step,slot,layer,expert\r\n"
                                         "0.5,x,1,1,0,1,3,2\n"
                                         "0.5,x,1,1,0,0,3,1\n"
                                         "0.25,x,1,0,9,1,3,0\n\n"
                                         "# between\n"
                                         "0.75,x,1,0,9,0,3,3\n"
                                         "0.25,x,1,0,9,1,1,1\n"
                                         "0.75,x,1,0,9,0,1,2",
                                     "csv");
  ASSERT_TRUE(trace) << to_line(trace.error());
  EXPECT_EQ(trace->shape, (TraceShape{{1, 3}, 4, 2, 150}));
  ASSERT_EQ(trace->steps.size(), 2U);
  EXPECT_EQ(trace->steps[0].phase, TracePhase::kPrefill);
  EXPECT_EQ(trace->steps[0].request, 1U);
  EXPECT_EQ(trace->steps[0].at(trace->shape, 0, 0)[0].expert, 2);
  EXPECT_EQ(trace->steps[0].at(trace->shape, 1, 0)[1].gate_weight, 0.25F);
  EXPECT_TRUE(trace->steps[1].at(trace->shape, 0, 0).empty());
  EXPECT_EQ(trace->steps[1].at(trace->shape, 1, 0)[0].expert, 1);
}

TEST(TraceCsv, WhatIsWrongIsNamedWithItsLine) {
  struct Case {
    std::string text, what;
    size_t line;
  };
  const std::string good = kHead + kNames + kRows;
  const std::vector<Case> cases = {
      {"# nothing\n" + kNames + kRows, "n_expert=", 2},
      {"# n_expert=0\n", "impossible n_expert", 1},
      {"# n_expert=4\n# layer=0 expert_bytes=x\n", "impossible expert_bytes", 2},
      {kHead + kNames, "no rows", 4},
      {kHead + "turn,phase,step,layer,slot,expert\n", "no column 'weight'", 4},
      {good + "0,0,0,3,0,1\n", "6 fields, not 7", 7},
      {good + "0,2,0,3,0,1,1\n", "impossible phase", 7},
      {good + "-1,0,0,3,0,1,1\n", "impossible turn", 7},
      {good + "0,0,0,3,0,4,1\n", "impossible expert", 7},
      {good + "0,0,0,65535,0,1,1\n", "impossible layer", 7},
      {good + "0,0,0,3,256,1,1\n", "impossible slot", 7},
      {good + "0,0,0,3,0,1,nan\n", "impossible weight", 7},
      {good + "0,0,0,3,0,1,1.5\n", "impossible weight", 7},
      {good + "0,0,0,3,0,1,1\n", "slots of layer 3 are missing or twice", 7},
      {good + "0,0,0,3,0,1,1\n0,0,0,3,0,2,1\n", "slots of layer 3 are missing or twice", 8},
      {good + "0,0,0,3,0,1,1\n0,0,0,3,1,1,1\n", "the same expert in two slots", 8},
  };
  for (const Case& bad : cases) {
    const auto trace = parse_trace_csv(bad.text, "file.csv");
    ASSERT_FALSE(trace) << bad.text;
    EXPECT_EQ(trace.error().code, Code::kBadData);
    EXPECT_THAT(trace.error().what, HasSubstr(bad.what));
    EXPECT_EQ(trace.error().where, fmt::format("file.csv line {}", bad.line)) << bad.what;
  }
}

TEST(TraceCsv, FewRowsDoNotFillTheMemory) {
  std::string text = "# n_expert=1\n" + kNames;
  for (int i = 0; i < 5000; ++i) text += fmt::format("0,0,{},{},0,0,1\n", i, i);
  const auto trace = parse_trace_csv(text, "csv");
  ASSERT_FALSE(trace);
  EXPECT_THAT(trace.error().what, HasSubstr("missing"));
}

}  // namespace
}  // namespace switchyard
