// More ranks than experts in a layer: all compute, each its slices, from folders and packs, paged
// and staged; and what is damaged is named.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <tuple>
#include <vector>

#include "experts/expert_source.h"
#include "experts/rank_source.h"
#include "runtime/base/hash.h"
#include "storage/input_file.h"
#include "tests/comm/run_line.h"
#include "tests/e2e/damage.h"
#include "tests/e2e/models.h"
#include "tests/e2e/team.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

const char* const kModel = "mixtral-swa";  // of four experts
const std::vector<TokenId> kIds = {5, 6, 7, 9, 11, 3, 8};

Placement placement_for(const ModelSource& source, uint32_t ranks) {
  return place_by_order(source.expert_order(), ranks, source.experts().layout().slices_max());
}

EngineOptions options_of(const ModelSource& source, uint32_t ranks) {
  EngineOptions options;
  options.memory_bytes = uint64_t{256} << 20;
  options.context = 16;
  options.team.layout = Layout::kA;
  options.team.placement = placement_for(source, ranks);
  return options;
}

std::string logits_hash(Engine& engine) {
  Hasher hasher;
  const SequenceId sequence = engine.open_sequence().value();
  std::vector<TokenId> next = kIds;
  for (int step = 0; step < 4; ++step) {
    const Status done = engine.step({{{sequence, next, LogitsWanted::kAll}}},
                                    [&](SequenceId, uint32_t, std::span<const float> row) {
                                      hasher.update(std::as_bytes(row));
                                      next = {argmax(row)};
                                    });
    if (!done) return to_line(done.error());
  }
  engine.close_sequence(sequence);
  return hash_hex(hasher.digest());
}

std::string single_hash() {
  const ModelSource& source = open_model(test_model(kModel), "folder");
  return logits_hash(*Engine::create(source, options_of(source, 1), {}).value());
}

class SlicedTeam : public testing::TestWithParam<std::tuple<std::string, uint32_t>> {};

TEST_P(SlicedTeam, EveryRankComputesItsSlices) {
  const std::string kind = std::get<0>(GetParam());
  const uint32_t ranks = std::get<1>(GetParam());
  const ModelSource& source = open_model(test_model(kModel), kind);
  TestTeam team(source, ranks, [&](uint32_t) { return options_of(source, ranks); });
  EXPECT_EQ(logits_hash(team.engine()), single_hash());
  const Placement placement = placement_for(source, ranks);
  const auto own = make_rank_source(source.experts(), placement, source.spec().router_layers(), 0);
  const MemoryPlan& plan = team.engine().memory_plan();
  EXPECT_EQ(plan.slots, source.spec().sparse_layers());
  EXPECT_EQ(plan.slots_bytes, plan.slots * own->slot_bytes()) << "of its slices alone";
  uint64_t computed = 0;
  const std::vector<RankReport> reports = team.engine().rank_reports().value();
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    const RankReport& report = reports[rank];
    EXPECT_EQ(report.experts, source.spec().sparse_layers());
    EXPECT_EQ(report.slices, placement.slice_of(rank).count);
    EXPECT_GT(report.expert_hits, 0u) << "rank " << rank;
    for (const LayerTraffic& layer : report.traffic) computed += layer.computed;
    const RankReport& leader = reports[placement.leader_of(rank)];
    for (size_t layer = 0; layer < report.traffic.size(); ++layer) {
      EXPECT_EQ(report.traffic[layer].computed, leader.traffic[layer].computed);
    }
  }
  EXPECT_GT(computed, (kIds.size() + 3) * source.spec().moe.top_k * source.spec().sparse_layers())
      << "more than the picks: slices";
}

// One slot in which the slices of three layers take turns; the drive's errors are tried again.
TEST_P(SlicedTeam, PagesItsSlices) {
  const std::string kind = std::get<0>(GetParam());
  const uint32_t ranks = std::get<1>(GetParam());
  const ModelSource& source = open_model(test_model(kModel), kind);
  const TempFolder folder;
  for (const bool staged : {false, true}) {
    TestTeam team(source, ranks, [&](uint32_t rank) {
      EngineOptions options = options_of(source, ranks);
      const auto own = make_rank_source(source.experts(), options.team.placement,
                                        source.spec().router_layers(), rank);
      options.expert_bytes_max = own->slot_bytes();
      options.faults = kind == "pack" ? "3,eio=0.05,bit-flip=0.05" : "3,eio=0.05,short-read=0.05";
      if (staged) options.stage = folder.path();
      return options;
    });
    EXPECT_EQ(logits_hash(team.engine()), single_hash());
    const std::vector<RankReport> reports = team.engine().rank_reports().value();
    for (const RankReport& report : reports) EXPECT_GT(report.expert_bytes_read, 0u);
  }
}

INSTANTIATE_TEST_SUITE_P(All, SlicedTeam,
                         testing::Combine(testing::Values("folder", "pack"),
                                          testing::Values(5U, 7U, 8U, 11U)),
                         [](const auto& info) {
                           return fmt::format("{}_{}", std::get<0>(info.param),
                                              std::get<1>(info.param));
                         });

// As ranks that are threads, and as processes.
TEST(SlicedPack, ADamagedExpertEndsTheRunByName) {
  const TempFolder folder;
  const std::string path = folder / "model.pack";
  const ModelSource& source = open_model(test_model(kModel), "pack");
  const ExpertPiece piece = source.experts().pieces({2, 3}).front();
  std::filesystem::copy_file(piece.file->path(), path);
  flip_byte(path, piece.offset + piece.bytes / 2);
  const std::string run =
      fmt::format("timeout -s KILL 60 {} run {} --ids 5,6,7 -n 2 -t 1", SWITCHYARD_BINARY, path);
  const Ended threads = run_line(run + " --ranks 8");
  EXPECT_EQ(threads.exit_code, 65) << threads.out;
  EXPECT_THAT(threads.out, HasSubstr("layer 2, expert 3"));
  if (why_no_mpi()) return;
  const Ended processes = run_line(mpirun_command("-quiet -n 5 " + run));
  EXPECT_EQ(processes.exit_code, 65) << processes.out;
  EXPECT_THAT(processes.out, HasSubstr("layer 2, expert 3"));
}

TEST(SlicedMpirun, ProcessesPrintTheHashOfOne) {
  if (const auto why = why_no_mpi()) GTEST_SKIP() << *why;
  const std::string run =
      fmt::format("timeout -s KILL 60 {} run {} --ids 5,6,7,9 -n 4 --ignore-eos -t 1 --logits-hash",
                  SWITCHYARD_BINARY, test_model(kModel).path);
  const auto hash_said = [](const Ended& ended) {
    const size_t at = ended.out.find("logits_hash ");
    return at == std::string::npos ? ended.out : ended.out.substr(at, 28);
  };
  const std::string expected = hash_said(run_line(run));
  for (const char* ranks : {"5", "8"}) {
    for (const char* layout : {"A", "B", "C", "auto"}) {
      const std::string line = mpirun_command(
          fmt::format("-quiet -n {} {} --layout {} --expert-memory 50%", ranks, run, layout));
      const Ended ended = run_line(line);
      EXPECT_EQ(hash_said(ended), expected) << line << '\n' << ended.out;
    }
  }
}

}  // namespace
}  // namespace switchyard
