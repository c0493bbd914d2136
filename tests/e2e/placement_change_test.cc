// Placements that change between requests: the logits stay, and a rank that is lost meanwhile is
// named.

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <tuple>
#include <vector>

#include "comm/simulated_world.h"
#include "experts/expert_source.h"
#include "runtime/base/hash.h"
#include "runtime/base/prng.h"
#include "tests/e2e/child.h"
#include "tests/e2e/models.h"
#include "tests/e2e/team.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

constexpr size_t kTokens = 128;     // of a request
constexpr uint32_t kUnchanged = 4;  // requests, until what was picked is believed
constexpr uint32_t kRequests = 6;

struct Setting {
  uint32_t ranks = 1;
  Layout layout = Layout::kA;
  double share = 1;  // of a rank's experts that fit
  bool adapt = false;
  std::string stage = "";
};

// Few different tokens, so that few experts are hot.
Result<std::string> logits_hash(Engine& engine, uint32_t requests) {
  Hasher hasher;
  for (uint32_t request = 0; request < requests; ++request) {
    Prng prng(request);
    const SequenceId sequence = TRY(engine.open_sequence());
    StepPlan plan;
    StepPart& part = plan.parts.emplace_back();
    part = {sequence, {}, LogitsWanted::kAll};
    for (size_t i = 0; i < kTokens; ++i) part.tokens.push_back(static_cast<TokenId>(prng.below(4)));
    TRY_STATUS(engine.step(plan, [&](SequenceId, uint32_t, std::span<const float> row) {
      hasher.update(std::as_bytes(row));
    }));
    engine.close_sequence(sequence);
  }
  return hash_hex(hasher.digest());
}

// The experts that are picked most on the last rank.
Placement uneven(const ModelSource& source, uint32_t ranks) {
  const ModelSpec& spec = source.spec();
  EngineOptions options;
  options.memory_bytes = uint64_t{1} << 30;
  options.context = kTokens;
  const TraceShape shape{.layers = spec.router_layers(), .top_k = spec.moe.top_k};
  std::vector<std::vector<uint32_t>> picks(shape.layers.size(),
                                           std::vector<uint32_t>(spec.moe.experts));
  options.on_routing = [&](const RoutingStep& step) {
    for (size_t layer = 0; layer < picks.size(); ++layer) {
      for (size_t token = 0; token < step.tokens.size(); ++token) {
        for (const RoutedExpert& routed : step.at(shape, layer, token)) {
          picks[layer][routed.expert] += 1;
        }
      }
    }
  };
  EXPECT_TRUE(logits_hash(*Engine::create(source, options, {}).value(), 1));
  ExpertOrder order = plain_order(picks.size(), spec.moe.experts);
  for (size_t layer = 0; layer < picks.size(); ++layer) {
    std::ranges::stable_sort(order[layer], {},
                             [&](uint16_t expert) { return picks[layer][expert]; });
  }
  return place_by_order(order, ranks);
}

EngineOptions options_of(const ModelSource& source, const Setting& setting) {
  EngineOptions options;
  options.memory_bytes = uint64_t{1} << 30;
  const uint64_t slot = source.experts().slot_bytes();
  const uint64_t all = source.experts().keys().size() * slot / setting.ranks;
  if (setting.share < 1) {
    options.expert_bytes_max =
        std::max(source.spec().moe.top_k * slot,
                 static_cast<uint64_t>(setting.share * static_cast<double>(all)));
  }
  options.context = kTokens;
  options.stage = setting.stage;
  options.team.layout = setting.layout;
  if (setting.ranks > 1) options.team.placement = uneven(source, setting.ranks);
  options.team.halves = false;  // not as the clock has it
  if (setting.adapt) options.team.adapt = {options.team.placement, 1};
  return options;
}

std::string hash_of(const ModelSource& source, const Setting& setting,
                    std::vector<PlacementChange>* changes = nullptr) {
  const EngineOptions options = options_of(source, setting);
  TestTeam team(source, setting.ranks, [&](uint32_t) { return options; });
  const std::string hash = logits_hash(team.engine(), kRequests).value();
  EXPECT_TRUE(team.engine().rank_reports());
  if (changes != nullptr) *changes = team.engine().placement_changes();
  return hash;
}

class PlacementChanges : public testing::TestWithParam<std::tuple<std::string, uint32_t>> {};

TEST_P(PlacementChanges, LeaveTheLogitsAsTheyAre) {
  const auto& [model, ranks] = GetParam();
  const ModelSource& source = open_model(test_model(model), "folder");
  const std::string expected = hash_of(source, {});
  for (const Layout layout : {Layout::kA, Layout::kB, Layout::kC}) {
    for (const double share : {0.25, 1.0}) {
      const Setting fixed{ranks, layout, share};
      ASSERT_EQ(hash_of(source, fixed), expected);
      Setting adaptive = fixed;
      adaptive.adapt = true;
      std::vector<PlacementChange> changes;
      ASSERT_EQ(hash_of(source, adaptive, &changes), expected)
          << ranks << " ranks, layout " << layout_name(layout) << ", " << share;
      ASSERT_FALSE(changes.empty());
      EXPECT_EQ(changes.front().tokens, kTokens * kUnchanged);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, PlacementChanges,
                         testing::Combine(testing::Values("mixtral", "olmoe", "qwen3_moe"),
                                          testing::Values(2U, 3U, 4U)),
                         [](const auto& info) {
                           return test_name(std::get<0>(info.param)) + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

TEST(PlacementChange, TakesStagedExpertsWithIt) {
  const TempFolder folder;
  const ModelSource& source = open_model(test_model("qwen3_moe"), "folder");
  const Setting setting{2, Layout::kA, 0.25, true, folder.path()};
  std::vector<PlacementChange> changes;
  EXPECT_EQ(hash_of(source, setting, &changes), hash_of(source, {}));
  EXPECT_FALSE(changes.empty());
}

// Each rank's slots and what it holds stay within what was planned at first.
TEST(PlacementChange, FitsTheMemoryThatWasPlanned) {
  const ModelSource& source = open_model(test_model("qwen3_moe"), "folder");
  const Setting setting{3, Layout::kA, 1, true};
  EngineOptions options = options_of(source, setting);
  TestTeam team(source, 3, [&](uint32_t) { return options; });
  ASSERT_TRUE(logits_hash(team.engine(), kRequests));
  ASSERT_FALSE(team.engine().placement_changes().empty());
  const auto reports = team.engine().rank_reports().value();
  uint64_t all = 0;
  for (const RankReport& rank : reports) {
    EXPECT_LE(rank.experts, team.engine().memory_plan().slots);
    all += rank.experts;
  }
  EXPECT_GT(all, source.experts().keys().size());
}

struct Simulated {
  double began = 0, ended = 0;  // of the change, on rank 0
  std::vector<std::optional<Error>> errors = {};
  std::vector<double> finished = {};
};

Simulated run_simulated(uint32_t ranks, const SimulatedFault& fault) {
  const ModelSource& source = open_model(test_model("qwen3_moe"), "folder");
  const EngineOptions common = options_of(source, {ranks, Layout::kA, 1, true});
  Simulated result{.errors = std::vector<std::optional<Error>>(ranks)};
  SimulatedHub hub(ranks, {.seed = 3, .limits = {.silence_seconds = 0.05}, .fault = fault});
  hub.run([&](SimulatedWorld& world) {
    EngineOptions options = common;
    options.team.world = &world;
    const auto body = [&]() -> Status {
      const auto engine = TRY(Engine::create(source, options, {}));
      if (world.rank() != 0) return engine->serve();
      TRY(logits_hash(*engine, kUnchanged));
      result.began = world.now_seconds();
      const SequenceId sequence = TRY(engine->open_sequence());
      result.ended = world.now_seconds();
      EXPECT_EQ(engine->placement_changes().size(), 1u);
      engine->close_sequence(sequence);
      TRY(logits_hash(*engine, 1));  // a rank lost behind its last message is missed now
      return {};
    };
    if (const Status done = body(); !done) {
      result.errors[world.rank()] = done.error();
      world.leave(done.error());
    }
  });
  for (uint32_t rank = 0; rank < ranks; ++rank) result.finished.push_back(hub.finish_seconds(rank));
  return result;
}

class LostWhileChanging : public testing::TestWithParam<SimulatedFault::Kind> {};

// It stops, its link to rank 0 is cut, or it leaves.
TEST_P(LostWhileChanging, IsNamedInTime) {
  constexpr uint32_t kRanks = 3;
  SimulatedFault fault{.kind = GetParam(), .error = {Code::kIo, "cannot read", "expert 7", {}}};
  fault.at_seconds = 1e6;  // after the end; the same events until then as with one before
  const Simulated undisturbed = run_simulated(kRanks, fault);
  for (const auto& error : undisturbed.errors) ASSERT_FALSE(error) << to_line(*error);
  ASSERT_LT(undisturbed.began, undisturbed.ended);
  bool while_changing = false;
  constexpr int kMoments = 24;
  for (int moment = 0; moment < kMoments; ++moment) {
    fault.rank = 1 + static_cast<uint32_t>(moment) % (kRanks - 1);
    fault.at_seconds =
        undisturbed.began + (undisturbed.ended - undisturbed.began) * (moment + 0.5) / kMoments;
    const Simulated lost = run_simulated(kRanks, fault);
    const std::optional<Error>& error = lost.errors[0];
    ASSERT_TRUE(error) << "at " << fault.at_seconds << " from " << undisturbed.began << " to "
                       << undisturbed.ended;
    EXPECT_THAT(error->where, testing::HasSubstr(fmt::format("rank {}", fault.rank)));
    while_changing |= to_line(*error).find("the new placement") != std::string::npos;
    for (const double finished : lost.finished) EXPECT_LT(finished, fault.at_seconds + 0.5);
  }
  EXPECT_TRUE(while_changing || GetParam() == SimulatedFault::Kind::kLeave) << "says why";
}

INSTANTIATE_TEST_SUITE_P(All, LostWhileChanging,
                         testing::Values(SimulatedFault::Kind::kLoseRank,
                                         SimulatedFault::Kind::kCutLink,
                                         SimulatedFault::Kind::kLeave));

// The windows of an eval are requests of their own.
TEST(PlacementChange, ComesBetweenTheWindowsOfAnEval) {
  std::string ids = "1";
  for (int i = 0; i < 1500; ++i) ids += i % 3 == 0 ? ",7" : i % 5 == 0 ? ",11" : ",1";
  const auto eval = [&](const std::vector<std::string>& more) {
    const TempFolder folder;
    std::vector<std::string> arguments = {
        "eval",   test_model("demo").path, "--ids", ids, "--context", "128",
        "--json", folder / "eval.json"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    const ChildResult child = run_switchyard(arguments);
    expect_done(child);
    auto json = nlohmann::json::parse(read_text(folder / "eval.json"));
    json["err"] = child.err;
    return json;
  };
  const auto alone = eval({}), fixed = eval({"--ranks", "4"});
  const auto adaptive = eval({"--ranks", "4", "--placement", "adaptive"});
  EXPECT_EQ(adaptive["logits_hash"], alone["logits_hash"]);
  EXPECT_EQ(fixed["logits_hash"], alone["logits_hash"]);
  EXPECT_EQ(fixed["placement"]["changes"], 0);
  ASSERT_GE(adaptive["placement"]["changes"], 1);
  const auto& change = adaptive["placement"]["history"][0];
  EXPECT_GE(change["after_tokens"], 512);
  EXPECT_LT(change["load_imbalance_after"], change["load_imbalance_before"]);
  EXPECT_THAT(adaptive["err"].get<std::string>(), testing::HasSubstr("placement changed"));
}

}  // namespace
}  // namespace switchyard
