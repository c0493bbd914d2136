#include "experts/trace_file.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <fstream>

#include "experts/trace_format.h"
#include "tests/experts/trace_testing.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

const TraceShape kShape = {{0, 2, 5}, 7, 2, 4096};

void append(const std::string& path, const TraceShape& shape, std::span<const RoutingStep> steps) {
  auto writer = TraceWriter::append(path, shape, "a model");
  ASSERT_TRUE(writer) << to_line(writer.error());
  for (const RoutingStep& step : steps) {
    const Status added = writer->add(step);
    ASSERT_TRUE(added) << to_line(added.error());
  }
}

RoutingTrace read_whole(const std::string& path) {
  std::string warning;
  auto trace = read_trace(path, warning);
  EXPECT_TRUE(trace) << to_line(trace.error());
  EXPECT_EQ(warning, "");
  return trace ? *trace : RoutingTrace{};
}

Error error_of_reading(const std::string& path) {
  std::string warning;
  const auto trace = read_trace(path, warning);
  EXPECT_FALSE(trace);
  return trace ? Error{} : trace.error();
}

// Numbered as a run numbers them: from 0, in the order in which they begin.
std::vector<RoutingStep> one_run(size_t count, Prng& prng) {
  std::vector<RoutingStep> steps = random_steps(kShape, count, 2, prng);
  for (size_t i = 0; i < steps.size(); ++i) steps[i].request = static_cast<uint32_t>(i / 2);
  return steps;
}

TEST(TraceFile, WhatIsWrittenIsRead) {
  const TempFolder folder;
  Prng prng(1);
  const std::vector<TraceShape> shapes = {
      kShape,
      {{3}, 1, 1, 0},
      {{0, 65534}, 256, 256, 1},
      {{0, 1}, 257, 8, 1},
      {{1, 2, 3, 4, 5, 6, 7, 8, 9}, 65536, 6, uint64_t{1} << 40},
  };
  for (size_t i = 0; i < shapes.size(); ++i) {
    const std::string path = folder / fmt::format("trace{}", i);
    const std::vector<RoutingStep> steps = random_steps(shapes[i], 20, 9, prng);
    append(path, shapes[i], steps);
    const RoutingTrace trace = read_whole(path);
    EXPECT_EQ(trace.shape, shapes[i]);
    EXPECT_EQ(trace.model, "a model");
    EXPECT_TRUE(same_steps(trace.steps, steps)) << i;
  }
}

TEST(TraceFile, GateWeightsThatNoRouterGivesAreClamped) {
  const TempFolder folder;
  const TraceShape shape = {{0}, 4, 4, 0};
  RoutingStep step;
  step.tokens = {1};
  step.routed = {{0, 2.0F}, {1, 1.0F}, {2, NAN}, {3, -0.5F}};
  append(folder / "trace", shape, {&step, 1});
  const RoutingTrace trace = read_whole(folder / "trace");
  const auto row = trace.steps.at(0).at(shape, 0, 0);
  ASSERT_EQ(row.size(), 4U);
  EXPECT_EQ(row[0].gate_weight, 1.0F);
  EXPECT_EQ(row[1].gate_weight, 1.0F);
  EXPECT_EQ(row[2].gate_weight, 0.0F);
  EXPECT_EQ(row[3].gate_weight, 0.0F);
}

TEST(TraceFile, ARowThatWasNotRecordedIsEmpty) {
  const TempFolder folder;
  RoutingStep step;
  step.tokens = {1, 2};
  step.routed.assign(3 * 2 * 2, RoutedExpert{0, -1});
  step.routed[2] = {4, 0.75F};
  step.routed[3] = {1, 0.25F};
  append(folder / "trace", kShape, {&step, 1});
  const RoutingTrace trace = read_whole(folder / "trace");
  EXPECT_EQ(trace.steps.at(0).at(kShape, 0, 1).size(), 2U);
  EXPECT_EQ(trace.steps.at(0).at(kShape, 0, 1)[0].expert, 4);
  EXPECT_TRUE(trace.steps.at(0).at(kShape, 0, 0).empty());
  EXPECT_TRUE(trace.steps.at(0).at(kShape, 2, 1).empty());
}

TEST(TraceFile, RunsAreAppendedAndTheirRequestsNumberedOn) {
  const TempFolder folder;
  Prng prng(2);
  std::vector<RoutingStep> expected;
  for (uint32_t run = 0; run < 3; ++run) {
    std::vector<RoutingStep> steps = one_run(6, prng);
    append(folder / "trace", kShape, steps);
    for (RoutingStep& step : steps) {
      step.request += run * 3;
      expected.push_back(step);
    }
  }
  EXPECT_TRUE(same_steps(read_whole(folder / "trace").steps, expected));
}

TEST(TraceFile, ARunThatAddsNothingLeavesNothing) {
  const TempFolder folder;
  const std::string path = folder / "trace";
  ASSERT_TRUE(TraceWriter::append(path, kShape, "a model"));
  EXPECT_FALSE(std::filesystem::exists(path));
  Prng prng(4);
  append(path, kShape, one_run(1, prng));
  const std::string whole = read_text(path);
  ASSERT_TRUE(TraceWriter::append(path, kShape, "a model"));
  EXPECT_EQ(read_text(path), whole);
}

TEST(TraceFile, EveryCutGivesAPrefixAndCanBeAppendedTo) {
  const TempFolder folder;
  Prng prng(3);
  const std::vector<RoutingStep> steps = one_run(3, prng);
  append(folder / "trace", kShape, steps);
  const std::string whole = read_text(folder / "trace");
  const uint64_t header_bytes = encode_trace_header(kShape, "a model").size();
  const std::string cut = folder / "cut";
  size_t torn = 0;
  for (size_t length = 1; length < whole.size(); ++length) {
    write_text(cut, whole.substr(0, length));
    if (length < header_bytes) {
      EXPECT_EQ(error_of_reading(cut).code, Code::kBadData) << length;
      continue;
    }
    std::string warning;
    const auto trace = read_trace(cut, warning);
    ASSERT_TRUE(trace) << length << ": " << to_line(trace.error());
    ASSERT_LT(trace->steps.size(), steps.size());
    EXPECT_TRUE(same_steps(trace->steps, std::span(steps).first(trace->steps.size()))) << length;
    if (!warning.empty()) {
      EXPECT_THAT(warning, HasSubstr("cut: the last step is torn")) << length;
      torn += 1;
    }
    append(cut, kShape, std::span(steps).first(1));
    EXPECT_EQ(read_whole(cut).steps.size(), trace->steps.size() + 1) << length;
  }
  EXPECT_EQ(torn, whole.size() - header_bytes - steps.size());  // all but those between two steps
}

TEST(TraceFile, AFlippedBitIsNeverReadAsAStep) {
  const TempFolder folder;
  Prng prng(4);
  const std::vector<RoutingStep> steps = one_run(3, prng);
  append(folder / "trace", kShape, steps);
  const std::string whole = read_text(folder / "trace");
  for (size_t at = 0; at < whole.size(); ++at) {
    std::string flipped = whole;
    flipped[at] = static_cast<char>(flipped[at] ^ 1 << at % 8);
    std::string warning;
    const auto trace = parse_trace(flipped, "flipped", warning);
    if (!trace) {
      EXPECT_EQ(trace.error().code, Code::kBadData) << at;
      continue;
    }
    // In the last step it looks like a torn one.
    EXPECT_EQ(trace->steps.size(), 2U) << at;
    EXPECT_NE(warning, "") << at;
  }
}

TEST(TraceFile, ADamagedStepBeforeOthersIsNamedAndKept) {
  const TempFolder folder;
  Prng prng(5);
  append(folder / "trace", kShape, one_run(3, prng));
  std::string bytes = read_text(folder / "trace");
  const size_t header_bytes = encode_trace_header(kShape, "a model").size();
  bytes[header_bytes] = static_cast<char>(bytes[header_bytes] ^ 0x40);  // the first step's length
  write_text(folder / "trace", bytes);
  const Error error = error_of_reading(folder / "trace");
  EXPECT_EQ(error.code, Code::kBadData);
  EXPECT_THAT(error.what, HasSubstr(fmt::format("at {}", header_bytes)));
  EXPECT_FALSE(TraceWriter::append(folder / "trace", kShape, "a model"));
  EXPECT_EQ(read_text(folder / "trace"), bytes);
}

TEST(TraceFile, ZerosBehindTheLastStepAreATornOne) {
  const TempFolder folder;
  Prng prng(6);
  const std::vector<RoutingStep> steps = one_run(2, prng);
  append(folder / "trace", kShape, steps);
  std::ofstream(folder / "trace", std::ios::app) << std::string(4096, '\0');
  std::string warning;
  const auto trace = read_trace(folder / "trace", warning);
  ASSERT_TRUE(trace) << to_line(trace.error());
  EXPECT_TRUE(same_steps(trace->steps, steps));
  EXPECT_THAT(warning, HasSubstr("4096 bytes"));
}

TEST(TraceFile, AnotherShapeIsRefusedAndTheFileKept) {
  const TempFolder folder;
  Prng prng(7);
  append(folder / "trace", kShape, one_run(2, prng));
  const std::string before = read_text(folder / "trace");
  const auto changed = [](auto change) {
    TraceShape shape = kShape;
    change(shape);
    return shape;
  };
  for (const TraceShape& other :
       {changed([](auto& shape) { shape.experts = 8; }),
        changed([](auto& shape) { shape.top_k = 1; }), changed([](auto& shape) {
          shape.layers = {0, 2, 6};
        }),
        changed([](auto& shape) { shape.expert_bytes = 1; })}) {
    const auto writer = TraceWriter::append(folder / "trace", other, "a model");
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().code, Code::kUsage);
  }
  EXPECT_EQ(read_text(folder / "trace"), before);
}

TEST(TraceFile, AnImpossibleShapeIsRefused) {
  const TempFolder folder;
  for (const TraceShape& shape :
       {TraceShape{{}, 7, 2, 0}, TraceShape{{0}, 7, 8, 0}, TraceShape{{0}, 7, 0, 0},
        TraceShape{{0}, 70000, 2, 0}, TraceShape{{1, 0}, 7, 2, 0}, TraceShape{{1, 1}, 7, 2, 0}}) {
    const auto writer = TraceWriter::append(folder / "trace", shape, "");
    ASSERT_FALSE(writer);
    EXPECT_EQ(writer.error().code, Code::kUsage);
  }
  EXPECT_FALSE(std::filesystem::exists(folder / "trace"));
}

TEST(TraceFile, OneWriterAtATime) {
  const TempFolder folder;
  const auto first = TraceWriter::append(folder / "trace", kShape, "");
  ASSERT_TRUE(first);
  const auto second = TraceWriter::append(folder / "trace", kShape, "");
  ASSERT_FALSE(second);
  EXPECT_EQ(second.error().code, Code::kUnavailable);
}

TEST(TraceFile, OtherFilesAreNamed) {
  const TempFolder folder;
  EXPECT_EQ(error_of_reading(folder / "none").code, Code::kNoInput);
  write_text(folder / "text", "not a trace");
  EXPECT_EQ(error_of_reading(folder / "text").code, Code::kBadData);
  EXPECT_EQ(error_of_reading(folder / "text").where, folder / "text");
  write_text(folder / "empty", "");
  EXPECT_EQ(error_of_reading(folder / "empty").code, Code::kBadData);
  const auto writer = TraceWriter::append(folder / "text", kShape, "");
  ASSERT_FALSE(writer);
  EXPECT_EQ(writer.error().code, Code::kBadData);
  EXPECT_EQ(read_text(folder / "text"), "not a trace");
}

// A file size limit is as a full drive, but for the signal.
TEST(TraceFile, AfterAFullDriveTheFileHoldsTheStepsBefore) {
  const TempFolder folder;
  Prng prng(8);
  const std::vector<RoutingStep> steps = one_run(3, prng);
  append(folder / "trace", kShape, std::span(steps).first(2));
  const uint64_t room = std::filesystem::file_size(folder / "trace") + 5;
  auto writer = TraceWriter::append(folder / "trace", kShape, "");
  ASSERT_TRUE(writer);
  const auto old_handler = std::signal(SIGXFSZ, SIG_IGN);
  rlimit old_limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &old_limit), 0);
  const rlimit limit = {room, old_limit.rlim_max};
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const Status added = writer->add(steps[2]);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &old_limit), 0);
  std::signal(SIGXFSZ, old_handler);
  ASSERT_FALSE(added);
  EXPECT_EQ(added.error().code, Code::kIo);
  EXPECT_EQ(read_whole(folder / "trace").steps.size(), 2U);
  EXPECT_TRUE(writer->add(steps[2]));
  EXPECT_EQ(read_whole(folder / "trace").steps.size(), 3U);
}

}  // namespace
}  // namespace switchyard
