// The law: one hash of logits a model, whatever the budget, threads, instruction set, chunking,
// form of the model and other sequences in the same step.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <stdexcept>

#include "experts/expert_source.h"
#include "runtime/base/hash.h"
#include "runtime/base/prng.h"
#include "runtime/kernels/kernel_table.h"
#include "tests/e2e/models.h"

namespace switchyard {
namespace {

constexpr size_t kPromptTokens = 66;  // past the largest chunk
constexpr size_t kGreedyTokens = 4;
constexpr uint32_t kContext = 80;
constexpr uint32_t kOthersMax = 16;
constexpr uint64_t kPlenty = uint64_t{1} << 30;
constexpr size_t kWhole = kPromptTokens;

std::vector<TokenId> random_ids(size_t count, uint32_t vocab, uint64_t seed) {
  Prng prng(seed);
  std::vector<TokenId> ids(count);
  for (TokenId& id : ids) id = static_cast<TokenId>(prng.below(vocab));
  return ids;
}

// A real text as far as it goes, then any ids.
std::vector<TokenId> prompt_of(const TestModel& model, uint32_t vocab) {
  const Expected expected = read_expected(model);
  std::vector<TokenId> ids = expected.input_ids;
  ids.insert(ids.end(), expected.greedy.begin(), expected.greedy.end());
  const std::vector<TokenId> more = random_ids(kPromptTokens, vocab, 1);
  ids.insert(ids.end(), more.begin(), more.end());
  ids.resize(kPromptTokens);
  return ids;
}

struct Layout {
  std::string kind;    // "folder" or "pack"
  std::string budget;  // "minimum", "quarter", "all"
  uint32_t threads = 1;
  std::string isa;
  uint32_t sequences = 1 + kOthersMax;
};

EngineOptions options_of(const Layout& layout, uint64_t memory_bytes) {
  EngineOptions options;
  options.memory_bytes = memory_bytes;
  options.threads = layout.threads;
  options.isa = layout.isa;
  options.context = kContext;
  options.sequences = layout.sequences;
  return options;
}

std::unique_ptr<Engine> engine_of(const ModelSource& source, const EngineOptions& options) {
  auto engine = Engine::create(source, options, {});
  if (!engine) throw std::runtime_error(to_line(engine.error()));
  return std::move(*engine);
}

// The smallest budget, to a page, that is not refused.
uint64_t minimum_budget(const ModelSource& source, const Layout& layout) {
  uint64_t refused = 0, enough = kPlenty;
  while (enough - refused > 4096) {
    const uint64_t middle = refused + (enough - refused) / 2;
    const auto engine = Engine::create(source, options_of(layout, middle), {});
    if (!engine && engine.error().code != Code::kNoMemory) {
      throw std::runtime_error(to_line(engine.error()));
    }
    (engine ? enough : refused) = middle;
  }
  return enough;
}

std::unique_ptr<Engine> engine_of(const ModelSource& source, const Layout& layout) {
  EngineOptions options = options_of(layout, kPlenty);
  if (layout.budget == "minimum") options.memory_bytes = minimum_budget(source, layout);
  const ExpertSource& experts = source.experts();
  const uint64_t all_bytes = experts.keys().size() * experts.layout().slot_bytes();
  if (layout.budget == "quarter") options.expert_bytes_max = all_bytes / 4;
  return engine_of(source, options);
}

// Sequences beside the one that is watched: of different lengths, some before and some after it in
// the step, begun at different steps and begun anew when they end.
class Others {
 public:
  Others(Engine& engine, uint32_t count) : engine_(engine), sequences_(count) {}
  ~Others() {
    for (const Other& other : sequences_) {
      if (other.open) engine_.close_sequence(other.id);
    }
  }

  void add(StepPlan& plan, uint32_t step, size_t tokens_left, bool before) {
    for (uint32_t i = 0; i < sequences_.size(); ++i) {
      if ((i % 2 == 0) == before && step >= i % 3) add_one(plan, i, tokens_left);
    }
  }

 private:
  struct Other {
    bool open = false;
    SequenceId id{};
    size_t fed = 0;
  };

  void add_one(StepPlan& plan, uint32_t i, size_t& tokens_left) {
    Other& other = sequences_[i];
    const size_t length = 3 + 5 * i % 23;
    if (other.open && other.fed == length) {
      engine_.close_sequence(other.id);
      other = {};
    }
    if (!other.open) other = {true, engine_.open_sequence().value(), 0};
    const size_t spare = std::min<size_t>(1 + i % 5, 1 + tokens_left);
    const size_t count = std::min(spare, length - other.fed);
    tokens_left -= count - 1;
    const auto ids = random_ids(length, engine_.spec().vocab, 100 + i);
    const auto begin = ids.begin() + static_cast<ptrdiff_t>(other.fed);
    plan.parts.push_back(
        {other.id, {begin, begin + static_cast<ptrdiff_t>(count)}, LogitsWanted::kLast});
    other.fed += count;
  }

  Engine& engine_;
  std::vector<Other> sequences_;
};

// Hash of the logits of every position of the prompt and of some greedy tokens behind it.
uint64_t logits_hash(Engine& engine, const std::vector<TokenId>& prompt, size_t chunk,
                     uint32_t others_count) {
  Others others(engine, others_count);
  const SequenceId watched = engine.open_sequence().value();
  Hasher hasher;
  TokenId next = 0;
  const auto sink = [&](SequenceId sequence, uint32_t, std::span<const float> row) {
    if (sequence != watched) return;
    hasher.update(std::as_bytes(row));
    next = argmax(row);
  };
  size_t fed = 0;
  for (uint32_t step = 0; fed < prompt.size() + kGreedyTokens; ++step) {
    const size_t room = engine.memory_plan().chunk - others_count;
    StepPart part{watched, {next}, LogitsWanted::kAll};
    if (fed < prompt.size()) {
      const size_t count = std::min({chunk, room, prompt.size() - fed});
      const auto begin = prompt.begin() + static_cast<ptrdiff_t>(fed);
      part.tokens.assign(begin, begin + static_cast<ptrdiff_t>(count));
    }
    fed += part.tokens.size();
    size_t tokens_left = room - part.tokens.size();
    StepPlan plan;
    others.add(plan, step, tokens_left / 2, true);
    plan.parts.push_back(std::move(part));
    others.add(plan, step, tokens_left / 2, false);
    const Status done = engine.step(plan, sink);
    if (!done) throw std::runtime_error(to_line(done.error()));
  }
  engine.close_sequence(watched);
  return hasher.digest();
}

// How the prompt is cut and how many other sequences there are.
struct Cell {
  size_t chunk;
  uint32_t others;
};
using Cells = std::vector<Cell>;

Cells every_cell() {
  Cells cells;
  for (const size_t chunk : {size_t{1}, size_t{7}, size_t{64}, kWhole}) {
    for (const uint32_t others : {0U, 1U, 3U, kOthersMax}) cells.push_back({chunk, others});
  }
  return cells;
}

// Every chunk and every number of others, once or twice.
Cells some_cells() { return {{1, 3}, {7, kOthersMax}, {64, 1}, {kWhole, 0}, {kWhole, kOthersMax}}; }

Cells two_cells() { return {{7, 3}, {kWhole, 0}}; }

class Exactness : public testing::TestWithParam<TestModel> {
 protected:
  void SetUp() override {
    const ModelSource& source = open_model(GetParam(), "folder");
    prompt_ = prompt_of(GetParam(), source.spec().vocab);
    const auto engine = engine_of(source, Layout{"folder", "all", 1, "", 1});
    expected_ = logits_hash(*engine, prompt_, kWhole, 0);
  }

  void check(const Layout& layout, const Cells& cells) {
    const auto engine = engine_of(open_model(GetParam(), layout.kind), layout);
    for (const auto& [chunk, others] : cells) {
      if (others >= layout.sequences) continue;
      ++layouts_;
      EXPECT_EQ(hash_hex(logits_hash(*engine, prompt_, chunk, others)), hash_hex(expected_))
          << fmt::format("{}, budget {}, {} threads, {}, chunk {}, {} others", layout.kind,
                         layout.budget, layout.threads, layout.isa, chunk, others);
    }
  }

  void check_all(const std::string& isa, const Cells& cells) {
    for (const char* kind : {"folder", "pack"}) {
      for (const uint32_t threads : {1U, 2U}) {
        for (const char* budget : {"minimum", "quarter", "all"}) {
          check({kind, budget, threads, isa}, cells);
        }
        // With room for one sequence the minimum holds one token a step.
        check({kind, "minimum", threads, isa, 1}, cells);
      }
    }
    std::printf("%s, %s: %d layouts, logits %s\n", GetParam().name.c_str(), isa.c_str(), layouts_,
                hash_hex(expected_).c_str());
  }

  std::vector<TokenId> prompt_;
  uint64_t expected_ = 0;
  int layouts_ = 0;
};

// The whole product on the best instruction set. The demo is large, and the other sets differ in
// their kernels alone: there some cells stand for all.
TEST_P(Exactness, OneHashOverTheMatrix) {
  bool best = true;
  for (const Kernels& kernels : all_kernels()) {
    const std::string isa = kernels.name;
    if (!kernels.supported() || isa == "scalar") continue;
    check_all(isa, !best ? two_cells() : GetParam().demo ? some_cells() : every_cell());
    best = false;
  }
}

TEST_P(Exactness, ScalarGivesTheSameHash) {
  if (GetParam().demo) {
    check({"folder", "all", 2, "scalar"}, {{kWhole, 0}});
    check({"pack", "quarter", 1, "scalar"}, {{7, 3}});
    check({"pack", "minimum", 2, "scalar", 1}, {{1, 0}});
  } else {
    check_all("scalar", two_cells());
  }
}

INSTANTIATE_TEST_SUITE_P(All, Exactness, testing::ValuesIn(test_models()),
                         [](const auto& test) { return test_name(test.param.name); });

}  // namespace
}  // namespace switchyard
