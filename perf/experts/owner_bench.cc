// What it costs at run time to guess the owner of a token's row and to choose holders.

#include <benchmark/benchmark.h>

#include <vector>

#include "experts/owner_tables.h"
#include "runtime/base/prng.h"
#include "runtime/base/replica_choice.h"

namespace switchyard {
namespace {

constexpr uint32_t kLayers = 26, kExperts = 64, kTopK = 6, kRanks = 8;
constexpr TokenId kVocabulary = 102400;  // DeepSeek-V2's

// Every token once, its experts at random.
RoutingTrace random_trace() {
  Prng prng(1);
  RoutingTrace trace;
  for (uint16_t layer = 0; layer < kLayers; ++layer) trace.shape.layers.push_back(layer);
  trace.shape.experts = kExperts;
  trace.shape.top_k = kTopK;
  RoutingStep& step = trace.steps.emplace_back();
  for (TokenId token = 0; token < kVocabulary; ++token) step.tokens.push_back(token);
  for (size_t row = 0; row < step.tokens.size() * kLayers; ++row) {
    const uint64_t first = prng.below(kExperts);
    for (uint32_t i = 0; i < kTopK; ++i) {
      step.routed.push_back({static_cast<uint16_t>((first + i * 7) % kExperts), 0.1F});
    }
  }
  return trace;
}

void guess_owner(benchmark::State& state) {
  static const auto* tables = new OwnerTables(
      OwnerTables::learn(random_trace(), place_by_order(plain_order(kLayers, kExperts), kRanks)));
  Prng prng(2);
  std::vector<TokenId> tokens(4096);
  for (TokenId& token : tokens) token = static_cast<TokenId>(prng.below(kVocabulary));
  std::vector<RankSet> sets(8192);
  for (RankSet& set : sets) set = 1 + prng.below(255);
  size_t at = 0;
  for (auto _ : state) {
    const auto previous = std::span<const RankSet>(sets).subspan(at * 2, 2);
    benchmark::DoNotOptimize(tables->owner(at % kLayers, tokens[at], previous));
    at = (at + 1) % tokens.size();
  }
  state.counters["MB"] = static_cast<double>(tables->bytes()) / 1e6;
}

void choose(benchmark::State& state) {
  Prng prng(3);
  std::vector<RankSet> holders(4096 * kTopK);
  for (RankSet& set : holders) {
    set = RankSet{1} << prng.below(kRanks);
    if (prng.uniform() < 0.3) set |= RankSet{1} << prng.below(kRanks);
  }
  std::vector<uint8_t> chosen(kTopK);
  size_t at = 0;
  for (auto _ : state) {
    const auto picks = std::span<const RankSet>(holders).subspan(at * kTopK, kTopK);
    choose_holders(picks, static_cast<uint32_t>(at % kRanks), chosen);
    benchmark::DoNotOptimize(chosen.data());
    if (state.range(0) != 0) benchmark::DoNotOptimize(saving_owners(picks));
    at = (at + 1) % 4096;
  }
}

BENCHMARK(guess_owner);
BENCHMARK(choose)->ArgName("saving_owners")->Arg(0)->Arg(1);

}  // namespace
}  // namespace switchyard
