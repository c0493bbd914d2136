// Whole engines on simulated ranks, each time with delays and at most one fault: rank 0 has the
// logits of a single rank or an error that names a rank, and nobody hangs. SWITCHYARD_SEED=N runs
// schedule N alone.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "comm/simulated_world.h"
#include "experts/expert_source.h"
#include "runtime/base/hash.h"
#include "runtime/base/prng.h"
#include "tests/comm/fault_schedules.h"
#include "tests/e2e/models.h"

namespace switchyard {
namespace {

using Kind = SimulatedFault::Kind;

constexpr bool kSanitized = std::string_view(SWITCHYARD_SANITIZE).size() > 0;
constexpr uint64_t kSchedules = kSanitized ? 280 : 1400;
constexpr uint64_t kShards = 4;
constexpr std::array kModels = {"mixtral", "olmoe", "qwen2_moe", "qwen3_moe", "mixtral-swa"};
constexpr const char* kSliced = "mixtral-swa";  // on more ranks than its layers have experts

EngineOptions options_of(const ModelSource& source, World* world, uint64_t seed) {
  EngineOptions options;
  options.memory_bytes = uint64_t{256} << 20;
  options.context = 10;
  options.sequences = 2;
  if (world == nullptr) {
    options.team.placement = place_by_order(source.expert_order(), 1);
    return options;
  }
  Prng prng(seed + 5);
  TeamOptions& team = options.team;
  team.world = world;
  team.layout = Layout{static_cast<uint8_t>(prng.below(4))};
  team.owners = {.kind = OwnerKind{static_cast<uint8_t>(prng.below(4))}, .seed = seed};
  const uint32_t slices = source.experts().layout().slices_max();
  team.placement = place_by_order(source.expert_order(), world->size(), slices);
  if (prng.below(2) == 0) {
    const auto experts = static_cast<uint32_t>(source.expert_order().front().size());
    team.placement =
        place_at_random(source.expert_order().size(), experts, world->size(), seed + 1, slices);
  }
  // Few experts in memory, so that ranks tell each other which ones they will want and have.
  const ExpertSource& experts = source.experts();
  if (prng.below(2) == 0) {
    options.expert_bytes_max = (source.spec().moe.top_k + 1) * experts.slot_bytes();
  }
  if (prng.below(2) == 0) {
    const uint32_t further = team.placement.leader_of(world->size() - 1);
    for (auto& layer : team.placement.holders) layer.front() |= RankSet{1} << further;
  }
  return options;
}

// Of the logits of two sequences that share steps.
Result<std::string> logits_hash(Engine& engine) {
  std::array<std::vector<TokenId>, 2> next = {{{5, 6, 7, 9}, {8, 3}}};
  std::vector<SequenceId> sequences;
  for (size_t i = 0; i < next.size(); ++i) sequences.push_back(TRY(engine.open_sequence()));
  Hasher hasher;
  for (int step = 0; step < 3; ++step) {
    StepPlan plan;
    for (size_t i = 0; i < next.size(); ++i) {
      plan.parts.push_back({sequences[i], next[i], LogitsWanted::kAll});
    }
    TRY_STATUS(engine.step(plan, [&](SequenceId sequence, uint32_t, std::span<const float> row) {
      hasher.update(std::as_bytes(row));
      next[sequence == sequences[0] ? 0 : 1] = {argmax(row)};
    }));
  }
  return hash_hex(hasher.digest());
}

const std::string& right_hash(const ModelSource& source, const std::string& model) {
  static std::map<std::string, std::string> known;
  std::string& hash = known[model];
  if (hash.empty()) {
    hash = logits_hash(*Engine::create(source, options_of(source, nullptr, 0), {}).value()).value();
  }
  return hash;
}

SimulatedOptions draw_options(uint64_t seed, uint32_t ranks) {
  Prng prng(seed + 77);
  SimulatedOptions options{.seed = seed, .limits = {.silence_seconds = 0.05}};
  if (prng.below(3) == 0) options.out_bytes_per_second = 1e6;
  if (prng.below(2) == 0) options.stall_max_seconds = 1e-3;
  options.fault = draw_fault(prng, seed, ranks, 60 * (ranks - 1));
  return options;
}

// One schedule; how many ranks failed.
uint32_t run_schedule(uint64_t seed) {
  Prng prng(seed);
  const std::string model = kModels[seed / 7 % kModels.size()];
  const auto ranks = static_cast<uint32_t>((model == kSliced ? 5 : 2) + prng.below(3));
  const ModelSource& source = open_model(test_model(model), "folder");
  const std::string& right = right_hash(source, model);
  const SimulatedOptions simulated = draw_options(seed, ranks);
  uint32_t failed = 0;
  std::string wrong;
  const auto note = [&](uint32_t rank, const Error& error) {
    ++failed;
    if (is_named(error, simulated.fault, rank)) return;
    wrong += fmt::format("rank {} says: {}\n", rank, to_line(error));
  };
  SimulatedHub hub(ranks, simulated);
  hub.run([&](SimulatedWorld& world) {
    const auto engine = Engine::create(source, options_of(source, &world, seed), {});
    Status status;
    if (!engine) {
      status = tl::unexpected(engine.error());
    } else if (world.rank() != 0) {
      status = (*engine)->serve();
    } else {
      const auto hash = logits_hash(**engine);
      if (hash && *hash != right) wrong += "rank 0 has other logits\n";
      if (!hash) status = tl::unexpected(hash.error());
    }
    if (status) return;
    note(world.rank(), status.error());
    world.leave(status.error());
  });
  EXPECT_EQ(wrong, "") << fmt::format("{} on {} ranks, fault {}; again with SWITCHYARD_SEED={}",
                                      model, ranks, static_cast<int>(simulated.fault.kind), seed);
  return failed;
}

class SimulatedEngines : public testing::TestWithParam<uint64_t> {};

TEST_P(SimulatedEngines, GiveTheRightLogitsOrANamedError) {
  if (const char* text = std::getenv("SWITCHYARD_SEED")) {
    const uint64_t seed = std::strtoull(text, nullptr, 10);
    if (seed % kShards != GetParam()) GTEST_SKIP() << "seed " << seed << " is another's";
    run_schedule(seed);
    return;
  }
  uint64_t failed = 0;
  for (uint64_t seed = GetParam(); seed < kSchedules; seed += kShards) failed += run_schedule(seed);
  EXPECT_GT(failed, kSchedules / kShards / 2);
}

INSTANTIATE_TEST_SUITE_P(Shard, SimulatedEngines, testing::Range(uint64_t{0}, kShards));

}  // namespace
}  // namespace switchyard
