#include "launch/bench_phases.h"

#include <span>

#include "launch/engine_flags.h"
#include "runtime/base/clock.h"
#include "runtime/base/prng.h"

namespace switchyard {
namespace {

// Sequences that are closed together.
class Sequences {
 public:
  explicit Sequences(Engine& engine) : engine_(engine) {}
  ~Sequences() {
    for (const SequenceId id : ids_) engine_.close_sequence(id);
  }
  Sequences(const Sequences&) = delete;

  Result<SequenceId> open(std::span<const TokenId> beginning) {
    ids_.push_back(TRY(engine_.open_sequence(beginning)));
    return ids_.back();
  }

 private:
  Engine& engine_;
  std::vector<SequenceId> ids_;
};

}  // namespace

std::vector<TokenId> random_ids(uint64_t seed, uint64_t stream, uint32_t count, uint32_t vocab) {
  Prng prng(Prng(seed).next() ^ Prng(~stream).next());
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(prng.below(vocab));
  return ids;
}

Result<Phase> time_prefill(Engine& engine, const std::vector<TokenId>& ids) {
  Sequences sequences(engine);
  const SequenceId sequence = TRY(sequences.open(ids));
  engine.reset_counters();
  const double begin = now_seconds();
  TRY_STATUS(feed_tokens(engine, sequence, ids, LogitsWanted::kLast,
                         [](SequenceId, uint32_t, std::span<const float>) {}, {}));
  return Phase{now_seconds() - begin, engine.counters()};
}

Result<Phase> time_decode(Engine& engine, const std::vector<std::vector<TokenId>>& prompts,
                          uint32_t tokens) {
  Sequences sequences(engine);
  StepPlan plan;
  std::vector<TokenId> next;
  const auto keep = [&](SequenceId, uint32_t, TokenId best) { next.push_back(best); };
  for (const std::vector<TokenId>& prompt : prompts) {
    const SequenceId sequence = TRY(sequences.open(prompt));
    const std::span<const TokenId> before(prompt.data(), prompt.size() - 1);
    TRY_STATUS(feed_tokens(engine, sequence, before, LogitsWanted::kNone, {}, {}));
    plan.parts.push_back({sequence, {prompt.back()}, LogitsWanted::kBest});
    TRY_STATUS(engine.step({{plan.parts.back()}}, {}, keep));
  }
  engine.reset_counters();
  const double begin = now_seconds();
  for (uint32_t step = 0; step < tokens; ++step) {
    for (size_t i = 0; i < next.size(); ++i) plan.parts[i].tokens = {next[i]};
    next.clear();
    TRY_STATUS(engine.step(plan, {}, keep));
  }
  Phase phase{now_seconds() - begin, engine.counters()};
  if (engine.ranks() > 1) phase.ranks = TRY(engine.rank_reports());
  return phase;
}

}  // namespace switchyard
