// The law over ranks: one hash of logits for a model and an expert order, whatever the number of
// ranks, the layout, the placement of experts, the owners of rows and the memory.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <string>
#include <tuple>
#include <vector>

#include "experts/expert_source.h"
#include "runtime/base/hash.h"
#include "runtime/base/prng.h"
#include "tests/e2e/models.h"
#include "tests/e2e/team.h"
#include "tests/storage/temp_folder.h"

namespace switchyard {
namespace {

constexpr size_t kPrompt = 12;
constexpr size_t kGreedy = 3;
constexpr uint32_t kSequences = 3;
constexpr uint64_t kPlenty = uint64_t{1} << 30;

struct Setting {
  uint32_t ranks = 1;
  Layout layout = Layout::kA;
  std::string placement = "grouped";
  OwnerKind owners = OwnerKind::kNone;
  double share = 1;  // of a rank's experts that fit
  std::string topology = "";
  bool halves = false;

  std::string text() const {
    return fmt::format("{} ranks, layout {}, {} placement, owners {}, {:.0f} % {}{}", ranks,
                       layout_name(layout), placement, owners_name({.kind = owners}), 100 * share,
                       topology, halves ? " in halves" : "");
  }
};

// A few experts of each layer on two ranks, or groups of them.
Placement with_replicas(Placement placement) {
  for (auto& layer : placement.holders) {
    for (size_t expert = 0; expert < layer.size(); expert += 3) {
      const auto other = static_cast<uint32_t>((expert + 1) % placement.ranks);
      layer[expert] |= RankSet{1} << placement.leader_of(other);
    }
  }
  return placement;
}

Placement placement_of(const Setting& setting, const ModelSource& source) {
  const ExpertOrder& order = source.expert_order();
  const uint32_t slices = source.experts().layout().slices_max();
  const auto experts = static_cast<uint32_t>(order.front().size());
  if (setting.placement == "plain") {
    return place_by_order(plain_order(order.size(), experts), setting.ranks, slices);
  }
  if (setting.placement == "random") {
    return place_at_random(order.size(), experts, setting.ranks, 7, slices);
  }
  const Placement grouped = place_by_order(order, setting.ranks, slices);
  return setting.placement == "replicated" ? with_replicas(grouped) : grouped;
}

EngineOptions options_of(const ModelSource& source, const Setting& setting) {
  EngineOptions options;
  options.memory_bytes = kPlenty;
  const ExpertSource& experts = source.experts();
  const uint64_t all = experts.keys().size() * experts.slot_bytes() / setting.ranks;
  if (setting.share < 1) {
    options.expert_bytes_max =
        std::max(source.spec().moe.top_k * experts.slot_bytes(),
                 static_cast<uint64_t>(setting.share * static_cast<double>(all)));
  }
  options.context = kPrompt + kGreedy;
  options.sequences = kSequences;
  options.team.layout = setting.layout;
  options.team.owners = {.kind = setting.owners};
  options.team.halves = setting.halves;
  if (!setting.topology.empty()) {
    options.team.topology = parse_topology(setting.topology, setting.ranks).value();
  }
  options.team.placement = placement_of(setting, source);
  return options;
}

// Of all logits of some sequences that share steps: prompts in pieces, then greedy tokens.
std::string logits_hash(Engine& engine, const std::vector<TokenId>& prompt) {
  std::map<SequenceId, uint32_t> index;
  std::vector<Hasher> hashers(kSequences);
  std::vector<std::vector<TokenId>> texts(kSequences);
  std::vector<SequenceId> sequences;
  for (uint32_t i = 0; i < kSequences; ++i) {
    sequences.push_back(engine.open_sequence().value());
    index[sequences[i]] = i;
    texts[i].assign(prompt.begin() + i, prompt.begin() + kPrompt - 2 * i);
  }
  std::vector<size_t> fed(kSequences);
  const auto sink = [&](SequenceId sequence, uint32_t position, std::span<const float> row) {
    const uint32_t i = index.at(sequence);
    hashers[i].update(std::as_bytes(row));
    if (position + 1 == texts[i].size()) texts[i].push_back(argmax(row));
  };
  for (size_t step = 0; step < kPrompt + kGreedy; ++step) {
    StepPlan plan;
    for (uint32_t i = 0; i < kSequences; ++i) {
      const size_t most = kPrompt - 3 * i + kGreedy - 1;
      const size_t count = std::min({size_t{5} + i, texts[i].size() - fed[i], most - fed[i]});
      if (count == 0) continue;
      const auto begin = texts[i].begin() + static_cast<ptrdiff_t>(fed[i]);
      plan.parts.push_back(
          {sequences[i], {begin, begin + static_cast<ptrdiff_t>(count)}, LogitsWanted::kAll});
      fed[i] += count;
    }
    if (plan.parts.empty()) break;
    const Status done = engine.step(plan, sink);
    if (!done) throw std::runtime_error(to_line(done.error()));
  }
  for (const SequenceId sequence : sequences) engine.close_sequence(sequence);
  std::string text;
  for (Hasher& hasher : hashers) text += hash_hex(hasher.digest()) + " ";
  return text;
}

std::string hash_of(const ModelSource& source, const TestModel& model, const Setting& setting) {
  std::vector<TokenId> prompt = read_expected(model).input_ids;
  prompt.resize(kPrompt, 1);
  TestTeam team(source, setting.ranks, [&](uint32_t) { return options_of(source, setting); });
  return logits_hash(team.engine(), prompt);
}

// The model with its experts in another order.
std::unique_ptr<ModelSource> reordered(const TestModel& model) {
  auto source = ModelSource::open(model.path).value();
  ExpertOrder order = source->expert_order();
  Prng prng(3);
  for (auto& layer : order) {
    for (size_t i = layer.size(); i > 1; --i) std::swap(layer[i - 1], layer[prng.below(i)]);
  }
  const TempFolder folder;
  const std::string path = folder.path() + "/order";
  std::ofstream(path) << encode_order(order);
  if (const Status read = source->read_expert_order(path); !read) {
    throw std::runtime_error(to_line(read.error()));
  }
  return source;
}

class TeamLaw : public testing::TestWithParam<TestModel> {};
class TeamLawOfRanks : public testing::TestWithParam<std::tuple<TestModel, uint32_t>> {};

// The whole product. With A and C owners choose only on which rank a sequence lives; with one rank
// for each head group (B) the last ranks have none.
TEST_P(TeamLawOfRanks, OneHashOverLayoutsPlacementsOwnersAndMemory) {
  const auto& [model, ranks] = GetParam();
  const auto plain = ModelSource::open(model.path).value();
  const auto grouped = reordered(model);
  for (const ModelSource* source : {plain.get(), grouped.get()}) {
    const std::string expected = hash_of(*source, model, {});
    for (const Layout layout : {Layout::kA, Layout::kB, Layout::kC}) {
      for (const char* placement : {"plain", "grouped", "replicated", "random"}) {
        for (const OwnerKind owners : {OwnerKind::kNone, OwnerKind::kPredicted, OwnerKind::kRandom,
                                       OwnerKind::kAdversarial}) {
          for (const double share : {0.25, 1.0}) {
            const Setting setting{ranks, layout, placement, owners, share};
            ASSERT_EQ(hash_of(*source, model, setting), expected) << setting.text();
          }
        }
      }
    }
  }
}

// Rows then are passed on by a rank of the node, and partials merged there.
TEST_P(TeamLaw, TheSameHashOverNodes) {
  const auto source = reordered(GetParam());
  const std::string expected = hash_of(*source, GetParam(), {});
  for (const auto& [ranks, topology] :
       {std::pair{3U, ""}, {4U, "2x2"}, {6U, "2x3"}, {6U, "3x2"}, {8U, "2x4"}, {8U, "4x2"}}) {
    for (const Layout layout : {Layout::kA, Layout::kB, Layout::kC}) {
      for (const char* placement : {"grouped", "replicated", "random"}) {
        for (const bool halves : {false, true}) {
          const Setting setting{ranks,    layout, placement, OwnerKind::kRandom, halves ? 1 : 0.25,
                                topology, halves};
          ASSERT_EQ(hash_of(*source, GetParam(), setting), expected) << setting.text();
        }
      }
    }
  }
}

// A token's copies cross to each node once at most, however many of its ranks need it.
TEST(TeamTraffic, RowsCrossToANodeOnce) {
  const TestModel& model = test_model("demo");
  const auto source = ModelSource::open(model.path).value();
  const Setting setting{8, Layout::kA, "random", OwnerKind::kNone, 1, "2x4"};
  std::vector<TokenId> prompt = read_expected(model).input_ids;
  prompt.resize(kPrompt, 1);
  TestTeam team(*source, 8, [&](uint32_t) { return options_of(*source, setting); });
  logits_hash(team.engine(), prompt);
  uint64_t tokens = 0, across = 0, needed = 0;
  const std::vector<RankReport> reports = team.engine().rank_reports().value();
  for (const RankReport& rank : reports) {
    for (const LayerTraffic& layer : rank.traffic) {
      tokens += layer.tokens;
      across += layer.copies_to_nodes;
      needed += layer.copies_needed;
    }
  }
  EXPECT_GT(tokens, 0u);
  EXPECT_LE(across, tokens) << "there is one other node";
  EXPECT_GT(needed, 2 * tokens) << "of whose ranks a token needs several";
}

INSTANTIATE_TEST_SUITE_P(All, TeamLaw, testing::ValuesIn(test_models()),
                         [](const auto& info) { return test_name(info.param.name); });

INSTANTIATE_TEST_SUITE_P(All, TeamLawOfRanks,
                         testing::Combine(testing::ValuesIn(test_models()),
                                          testing::Values(2U, 3U, 4U, 5U, 8U)),
                         [](const auto& info) {
                           return test_name(std::get<0>(info.param).name) + "_" +
                                  std::to_string(std::get<1>(info.param));
                         });

}  // namespace
}  // namespace switchyard
