// Groups of simulated ranks that compute toy experts together: the leader has the outputs of one
// rank, to the bit, or an error that names a rank, and none hangs. SWITCHYARD_SEED=N runs schedule
// N alone.

#include "comm/slice_exchange.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <map>
#include <numeric>
#include <string>
#include <vector>

#include "comm/simulated_world.h"
#include "runtime/base/prng.h"
#include "tests/comm/fault_schedules.h"

namespace switchyard {
namespace {

using Kind = SimulatedFault::Kind;
using testing::HasSubstr;

constexpr uint64_t kSchedules = 2100;
constexpr uint32_t kStep = 7;

// Ranks in one group or two, and what their leaders bring.
struct Scene {
  uint64_t seed = 0;
  uint32_t ranks = 2, first_group = 2, hidden = 8, intermediate = 8, experts = 4, layers = 2;

  std::vector<uint32_t> group_of(uint32_t rank) const {
    const uint32_t begin = rank < first_group ? 0 : first_group;
    std::vector<uint32_t> group((rank < first_group ? first_group : ranks) - begin);
    std::iota(group.begin(), group.end(), begin);
    return group;
  }
  std::vector<uint32_t> rows_of(uint32_t leader, uint32_t layer) const {
    Prng prng(seed + 10 * layer + leader);
    std::vector<uint32_t> rows(experts);
    for (uint32_t& of_expert : rows) of_expert = static_cast<uint32_t>(prng.below(4));
    return rows;
  }
  std::vector<float> x(uint32_t leader, uint32_t layer) const {
    Prng prng(seed + 1000 + 10 * layer + leader);
    std::vector<float> x(size_t{8} * hidden);
    for (float& value : x) value = static_cast<float>(prng.uniform());
    return x;
  }
};

Scene draw_scene(uint64_t seed) {
  Prng prng(seed ^ 0x511ce);
  const auto within = [&](uint32_t least, uint32_t most) {
    return least + static_cast<uint32_t>(prng.below(most - least + 1));
  };
  Scene scene;
  scene.seed = seed;
  scene.ranks = within(2, 6);
  scene.first_group = scene.ranks < 4 ? scene.ranks : within(2, scene.ranks - 2);
  scene.hidden = within(1, 70);
  scene.intermediate = within(1, 70);
  scene.experts = within(1, 4);
  scene.layers = within(1, 3);
  return scene;
}

// One output of a toy matrix.
float product(std::span<const float> x, uint32_t expert, uint32_t row) {
  float sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    sum += x[i] * (static_cast<float>((row + 3 * i + expert) % 11) - 4.5F);
  }
  return sum;
}

std::vector<float> right_output(std::span<const float> x, const Scene& scene, uint32_t expert) {
  std::vector<float> inner(scene.intermediate), out(scene.hidden);
  for (uint32_t i = 0; i < inner.size(); ++i) inner[i] = product(x, expert, i);
  for (uint32_t i = 0; i < out.size(); ++i) out[i] = product(inner, expert, i);
  return out;
}

class SceneRank {
 public:
  SceneRank(World& world, const Scene& scene)
      : scene_(scene),
        leader_(scene.group_of(world.rank()).front()),
        slices_(world, {.ranks = scene.group_of(world.rank()),
                        .hidden = scene.hidden,
                        .intermediate = scene.intermediate,
                        .experts = scene.experts,
                        .rows_max = 3}) {}

  Status run() {
    for (uint32_t layer = 0; layer < scene_.layers; ++layer) {
      const std::vector<uint32_t> told = scene_.rows_of(leader_, layer);
      std::vector<uint32_t> rows(scene_.experts);
      if (slices_.leads()) rows = told;
      TRY_STATUS(slices_.begin(kStep, layer, rows));
      right_ = right_ && rows == told;
      const std::vector<float> x = scene_.x(leader_, layer);
      for (uint32_t expert = 0; expert < scene_.experts; ++expert) {
        if (rows[expert] > 0) TRY_STATUS(compute(expert, rows[expert], x));
      }
      TRY_STATUS(slices_.end());
    }
    return {};
  }
  bool right() const { return right_; }
  const SliceExchange& slices() const { return slices_; }

 private:
  Status compute(uint32_t expert, uint32_t rows, const std::vector<float>& x) {
    constexpr uint32_t kWhich[] = {5, 0, 2};
    const size_t inner_stride = scene_.intermediate + 3, stride = scene_.hidden + 1;
    const float* came =
        TRY(slices_.leads() ? slices_.share_rows(rows, x.data(), scene_.hidden, kWhich)
                            : slices_.share_rows(rows, nullptr, 0, nullptr));
    std::vector<float> inner(rows * inner_stride), out(rows * stride);
    for (uint32_t row = 0; row < rows; ++row) {
      const std::span of_row(came + size_t{row} * scene_.hidden, scene_.hidden);
      const RowRange own = slices_.inner_columns();
      for (uint32_t i = own.begin; i < own.end; ++i) {
        inner[row * inner_stride + i] = product(of_row, expert, i);
      }
    }
    TRY_STATUS(slices_.share_inner(rows, inner.data(), inner_stride));
    for (uint32_t row = 0; row < rows; ++row) {
      const auto of_row = std::span(inner).subspan(row * inner_stride, scene_.intermediate);
      const RowRange own = slices_.outer_columns();
      for (uint32_t i = own.begin; i < own.end; ++i) {
        out[row * stride + i] = product(of_row, expert, i);
      }
    }
    TRY_STATUS(slices_.collect(rows, out.data(), stride));
    for (uint32_t row = 0; row < rows && slices_.leads(); ++row) {
      const auto right = right_output(
          std::span(x).subspan(kWhich[row] * scene_.hidden, scene_.hidden), scene_, expert);
      right_ = right_ && std::ranges::equal(
                             std::as_bytes(std::span(right)),
                             std::as_bytes(std::span(out).subspan(row * stride, scene_.hidden)));
    }
    return {};
  }

  const Scene& scene_;
  const uint32_t leader_;
  SliceExchange slices_;
  bool right_ = true;
};

SimulatedOptions draw_options(const Scene& scene) {
  Prng prng(scene.seed + 99);
  SimulatedOptions options{.seed = scene.seed, .limits = {.silence_seconds = 0.05}};
  if (prng.below(3) == 0) options.latency_max_seconds = 2e-2;
  if (prng.below(3) == 0) options.out_bytes_per_second = 1e5 + prng.uniform() * 1e7;
  if (prng.below(2) == 0) options.stall_max_seconds = 1e-3;
  options.fault = draw_fault(prng, scene.seed, scene.ranks, uint64_t{scene.layers} * 6);
  return options;
}

// One schedule; how many ranks failed.
uint32_t run_schedule(uint64_t seed) {
  const Scene scene = draw_scene(seed);
  const SimulatedOptions options = draw_options(scene);
  uint32_t failed = 0;
  std::string wrong;
  SimulatedHub hub(scene.ranks, options);
  hub.run([&](SimulatedWorld& world) {
    SceneRank rank(world, scene);
    const Status status = rank.run();
    if (!rank.right()) wrong += fmt::format("rank {} has other bits\n", world.rank());
    if (status) return;
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

TEST(SliceExchange, GivesTheRightBitsOrANamedError) {
  if (const char* text = std::getenv("SWITCHYARD_SEED")) {
    run_schedule(std::strtoull(text, nullptr, 10));
    return;
  }
  std::map<Kind, uint64_t> failed;
  for (uint64_t seed = 0; seed < kSchedules; ++seed) {
    failed[Kind{static_cast<uint8_t>(seed % 7)}] += run_schedule(seed);
  }
  for (const auto& [kind, count] : failed) {
    EXPECT_EQ(count > 0, kind != Kind::kNone) << "fault " << static_cast<int>(kind);
  }
}

TEST(SliceExchange, CountsWhatItSent) {
  Scene scene{.ranks = 3, .first_group = 3, .hidden = 48, .intermediate = 96, .layers = 1};
  const std::vector<uint32_t> rows_of = scene.rows_of(0, 0);
  const uint64_t rows = std::accumulate(rows_of.begin(), rows_of.end(), uint64_t{0});
  ASSERT_GT(rows, 0u);
  std::vector<LayerTraffic> traffic(3);
  SimulatedHub hub(3, {});
  hub.run([&](SimulatedWorld& world) {
    SceneRank rank(world, scene);
    EXPECT_TRUE(rank.run());
    traffic[world.rank()] = rank.slices().traffic().at(0);
  });
  for (uint32_t from = 0; from < 3; ++from) {
    EXPECT_EQ(traffic[from].computed, from == 0 ? 0 : rows) << "the leader counts its own";
    for (uint32_t to = 0; to < 3; ++to) {
      EXPECT_EQ(traffic[from].bytes_to[to], hub.bytes_sent(from, to));
      if (to == from) continue;
      const uint64_t floats = from == 0 ? 48 + 32 : to == 0 ? 32 + 16 : 32;
      EXPECT_GE(traffic[from].bytes_to[to], rows * floats * sizeof(float));
      EXPECT_LT(traffic[from].bytes_to[to], (rows * floats + 100) * sizeof(float));
    }
  }
}

TEST(SliceExchange, ALeaderAtAnotherStepOrLayerIsNamed) {
  for (const auto& [step, layer] : {std::pair{kStep + 1, 0U}, {kStep, 1U}}) {
    std::string said;
    SimulatedHub hub(2, {});
    hub.run([&, step = step, layer = layer](SimulatedWorld& world) {
      SliceExchange slices(world, {{0, 1}, 16, 16, 2, 3});
      std::vector<uint32_t> rows(2);
      const Status begun =
          world.rank() == 0 ? slices.begin(step, layer, rows) : slices.begin(kStep, 0, rows);
      if (!begun) said = to_line(begun.error());
      if (world.rank() == 0) {
        EXPECT_TRUE(slices.end());
      }
    });
    EXPECT_THAT(said, testing::AllOf(HasSubstr("rank 0"), HasSubstr("step 7, layer 0")));
  }
}

}  // namespace
}  // namespace switchyard
