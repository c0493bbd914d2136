// Schedules of a toy model over simulated ranks, each with delays, links and at most one fault:
// every rank ends with the right bits or an error that names a rank, and none hangs.
// SWITCHYARD_SEED=N runs schedule N alone.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "comm/expert_exchange.h"
#include "comm/hint_exchange.h"
#include "comm/owner_exchange.h"
#include "comm/simulated_world.h"
#include "tests/comm/exchange_scene.h"
#include "tests/comm/fault_schedules.h"

namespace switchyard {
namespace {

using Kind = SimulatedFault::Kind;

constexpr bool kSanitized = std::string_view(SWITCHYARD_SANITIZE).size() > 0;
constexpr uint64_t kSchedules = kSanitized ? 3000 : 10'000;
constexpr uint64_t kShards = 10;

// One rank's part of the model.
class SceneRank {
 public:
  SceneRank(World& world, const Scene& scene)
      : world_(world),
        scene_(scene),
        experts_(world, {scene.hidden, scene.top_k, scene.rows}, scene.topology),
        // Half of what a row takes in a gather: memory for the rest is taken on the way.
        heads_(world,
               {scene.hidden, scene.rows, scene.hidden * 2, scene.leaves, scene.nodes_of_rank}),
        hints_(world, 1),
        x_(first_rows(scene)) {}

  Status run() {
    for (layer_ = 0; layer_ < scene_.layers; ++layer_) {
      own_.clear();
      for (uint32_t row = 0; row < scene_.rows; ++row) {
        if (owners()[row] == world_.rank()) own_.push_back(row);
      }
      if (scene_.splits) TRY_STATUS(attend());
      TRY_STATUS(compute_experts());
      if (scene_.splits) TRY_STATUS(spread());
      // Those of this layer may still be under way.
      if (layer_ > 0) TRY_STATUS(hints_.finish(layer_ - 1, read_));
    }
    TRY_STATUS(hints_.finish(layer_, read_));
    EXPECT_EQ(hints_read_, scene_.layers * (scene_.ranks - 1));
    return {};
  }

  // Whether the rows that this rank knows are those.
  bool has(const Rows& right) const {
    for (uint32_t row = 0; row < scene_.rows; ++row) {
      const bool knows = scene_.splits || scene_.owners.back()[row] == world_.rank();
      if (knows && !std::ranges::equal(std::as_bytes(std::span(x_[row])),
                                       std::as_bytes(std::span(right[row])))) {
        return false;
      }
    }
    return true;
  }

 private:
  using Parts = std::vector<std::pair<uint32_t, std::vector<float>>>;
  const std::vector<uint8_t>& owners() const { return scene_.owners[layer_]; }

  // The heads of this rank for all rows; its own rows become the sums over all heads.
  Status attend() {
    const auto [first, last] = scene_.leaves_of(world_.rank());
    std::vector<float> squares(size_t{scene_.rows} * scene_.leaves);
    for (uint32_t row = 0; row < scene_.rows; ++row) {
      for (uint32_t leaf = first; leaf < last; ++leaf) {
        squares[row * scene_.leaves + leaf] = leaf_square(x_[row], leaf);
      }
    }
    TRY_STATUS(heads_.share(layer_, squares));
    const std::vector<uint32_t>& nodes = scene_.nodes_of_rank[world_.rank()];
    Rows outputs(nodes.size());
    std::vector<float*> pointers;
    for (size_t node = 0; node < nodes.size(); ++node) {
      const uint32_t end = node + 1 < nodes.size() ? nodes[node + 1] : last;
      for (uint32_t row = 0; row < scene_.rows; ++row) {
        Parts parts;
        for (uint32_t leaf = nodes[node]; leaf < end; ++leaf) {
          const auto of_row = std::span(squares).subspan(row * scene_.leaves, scene_.leaves);
          parts.emplace_back(leaf, head_output(x_[row], leaf, of_row));
        }
        const auto sum = tree_total(std::move(parts), scene_.leaves);
        outputs[node].insert(outputs[node].end(), sum.begin(), sum.end());
      }
      pointers.push_back(outputs[node].data());
    }
    std::vector<float> sums(own_.size() * scene_.hidden);
    TRY_STATUS(heads_.reduce(**select_kernels(""), layer_, owners(), pointers, sums.data(),
                             scene_.hidden));
    for (size_t i = 0; i < own_.size(); ++i) {
      std::copy_n(sums.begin() + static_cast<ptrdiff_t>(i * scene_.hidden), scene_.hidden,
                  x_[own_[i]].begin());
    }
    return {};
  }

  Status compute_experts() {
    std::vector<RoutedExpert> routed;
    std::vector<float> rows;
    for (const uint32_t row : own_) {
      const auto of_row = route(scene_, layer_, x_[row]);
      routed.insert(routed.end(), of_row.begin(), of_row.end());
      rows.insert(rows.end(), x_[row].begin(), x_[row].end());
    }
    const DispatchPlan plan = plan_dispatch({.routed = routed,
                                             .top_k = scene_.top_k,
                                             .place_of = scene_.place_of[layer_],
                                             .holders = scene_.holders[layer_],
                                             .rank = world_.rank(),
                                             .ranks = scene_.ranks});
    ExchangeStep step{.number = 7, .layer = layer_, .way = scene_.ways[layer_]};
    step.rows_of_rank.resize(scene_.ranks);
    for (const uint8_t owner : owners()) ++step.rows_of_rank[owner];
    TRY_STATUS(experts_.dispatch(step, plan, rows.data(), scene_.hidden));
    TRY_STATUS(experts_.wait_for_rows());
    tell_hints();
    TRY_STATUS(hints_.take(read_));
    const Kernels& kernels = **select_kernels("");
    sums_.clear();
    for (uint32_t row = 0; row < experts_.count(); ++row) sum_parts(row);
    TRY_STATUS(experts_.return_parts(kernels));
    TRY_STATUS(experts_.combine(kernels));
    for (uint32_t row = 0; row < own_.size(); ++row) {
      const float* sum =
          combine_parts(kernels, plan.of(row), experts_.parts(row), plan.place_of, scene_.hidden);
      add_update(x_[own_[row]], {sum, scene_.hidden});
    }
    return {};
  }

  // What a rank tells another one depends on both and on the layer.
  static std::vector<Hint> hints_of(uint32_t from, uint32_t to, uint32_t layer) {
    return std::vector<Hint>((from + 2 * to + layer) % 4, {static_cast<uint16_t>(from * 64 + to)});
  }

  void tell_hints() {
    std::vector<std::vector<Hint>> wanted;
    for (uint32_t rank = 0; rank < scene_.ranks; ++rank) {
      wanted.push_back(hints_of(world_.rank(), rank, layer_));
    }
    hints_.begin(7, layer_, wanted, std::array{uint64_t{layer_} << 32 | world_.rank()});
  }

  void read_hints(const Hints& hints) {
    const auto same = [](const Hint& a, const Hint& b) { return a.expert == b.expert; };
    EXPECT_TRUE(
        std::ranges::equal(hints.wanted, hints_of(hints.from, world_.rank(), hints.layer), same));
    EXPECT_EQ(hints.present.front(), uint64_t{hints.layer} << 32 | hints.from);
    hints_read_ += 1;
  }

  // The partials of one row that are due here, as ExpertPass has them.
  void sum_parts(uint32_t row) {
    const auto picks = experts_.picks(row);
    const std::span x(experts_.rows() + row * experts_.stride(), scene_.hidden);
    for (size_t i = 0; i < picks.size();) {
      const uint8_t part = picks[i].part;
      Parts leaves;
      for (; i < picks.size() && picks[i].part == part; ++i) {
        if (picks[i].rank != world_.rank()) continue;
        leaves.emplace_back(scene_.place_of[layer_][picks[i].expert],
                            expert_output(x, picks[i].expert, picks[i].gate_weight));
      }
      if (leaves.empty()) continue;
      sums_.push_back(tree_total(std::move(leaves), scene_.experts));
      experts_.parts(row)[part] = sums_.back().data();
    }
  }

  // Own rows to all.
  Status spread() {
    std::vector<float> all;
    std::vector<uint64_t> marks(scene_.rows);
    for (uint32_t row = 0; row < scene_.rows; ++row) {
      all.insert(all.end(), x_[row].begin(), x_[row].end());
      if (owners()[row] == world_.rank()) marks[row] = 1000 * layer_ + row;
    }
    const size_t row_bytes = scene_.hidden * sizeof(float);
    const std::array columns = {
        RowColumn{reinterpret_cast<std::byte*>(all.data()), row_bytes, row_bytes},
        RowColumn{reinterpret_cast<std::byte*>(marks.data()), sizeof(uint64_t), sizeof(uint64_t)}};
    TRY_STATUS(heads_.gather(layer_, owners(), columns));
    for (uint32_t row = 0; row < scene_.rows; ++row) {
      EXPECT_EQ(marks[row], 1000 * layer_ + row);
      std::copy_n(all.begin() + static_cast<ptrdiff_t>(row * scene_.hidden), scene_.hidden,
                  x_[row].begin());
    }
    return {};
  }

  World& world_;
  const Scene& scene_;
  ExpertExchange experts_;
  OwnerExchange heads_;
  HintExchange hints_;
  const HintExchange::Sink read_ = [this](const Hints& hints) { read_hints(hints); };
  uint32_t hints_read_ = 0;
  Rows x_;
  std::deque<std::vector<float>> sums_;  // of this rank's experts
  uint32_t layer_ = 0;
  std::vector<uint32_t> own_;
};

SimulatedOptions draw_options(const Scene& scene) {
  Prng prng(scene.seed + 99);
  SimulatedOptions options{.seed = scene.seed, .limits = {.silence_seconds = 0.05}};
  if (prng.below(3) == 0) options.latency_max_seconds = 2e-2;
  if (prng.below(3) == 0) options.out_bytes_per_second = 1e5 + prng.uniform() * 1e7;
  if (prng.below(3) == 0) options.in_bytes_per_second = 1e5 + prng.uniform() * 1e7;
  if (prng.below(2) == 0) options.stall_max_seconds = 1e-3;
  const uint32_t rounds = scene.layers * (scene.splits ? 6 : 3);
  options.fault = draw_fault(prng, scene.seed, scene.ranks, uint64_t{rounds} * (scene.ranks - 1));
  if (prng.below(4) == 0) {
    options.fault.at_message = {};
    options.fault.at_seconds = prng.uniform() * 1e-3 * rounds;
  }
  return options;
}

// One schedule; how many ranks failed.
uint32_t run_schedule(uint64_t seed) {
  const Scene scene = draw_scene(seed);
  const SimulatedOptions options = draw_options(scene);
  const Rows right = right_rows(scene);
  uint32_t failed = 0;
  std::string wrong;
  SimulatedHub hub(scene.ranks, options);
  hub.run([&](SimulatedWorld& world) {
    SceneRank rank(world, scene);
    const Status status = rank.run();
    if (status) {
      if (!rank.has(right)) wrong += fmt::format("rank {} computed other bits\n", world.rank());
      return;
    }
    ++failed;
    if (!is_named(status.error(), options.fault, world.rank())) {
      wrong += fmt::format("rank {} says: {}\n", world.rank(), to_line(status.error()));
    }
    world.leave(status.error());
  });
  EXPECT_EQ(wrong, "") << fmt::format("{} ranks, fault {}; again with SWITCHYARD_SEED={}",
                                      scene.ranks, static_cast<int>(options.fault.kind), seed);
  return failed;
}

class ExchangeSchedules : public testing::TestWithParam<uint64_t> {};

TEST_P(ExchangeSchedules, GiveTheRightBitsOrANamedError) {
  if (const char* text = std::getenv("SWITCHYARD_SEED")) {
    const uint64_t seed = std::strtoull(text, nullptr, 10);
    if (seed % kShards != GetParam()) GTEST_SKIP() << "seed " << seed << " is another's";
    run_schedule(seed);
    return;
  }
  std::map<Kind, uint64_t> failed;
  for (uint64_t seed = GetParam(); seed < kSchedules; seed += kShards) {
    failed[Kind{static_cast<uint8_t>(seed % 7)}] += run_schedule(seed);
  }
  for (const auto& [kind, count] : failed) {
    EXPECT_EQ(count > 0, kind != Kind::kNone) << "fault " << static_cast<int>(kind);
  }
}

INSTANTIATE_TEST_SUITE_P(Shard, ExchangeSchedules, testing::Range(uint64_t{0}, kShards));

}  // namespace
}  // namespace switchyard
