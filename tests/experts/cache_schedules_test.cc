// Prefetch, demand, eviction and failure in many orders: whatever the schedule, what a lease shows
// is the expert it names for as long as the lease lives, and every request is served or fails by
// name.

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

#include "experts/expert_cache.h"
#include "storage/simulated_queue.h"
#include "tests/experts/test_model.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;

constexpr bool kSanitized = std::string_view(SWITCHYARD_SANITIZE).size() > 0;
constexpr uint64_t kSchedules = kSanitized ? 4'000 : 100'000;
constexpr uint16_t kLayers = 3, kExperts = 6;
constexpr int kRounds = 8;
constexpr std::byte kLentByte{0x5a};

class Schedules : public testing::Test {
 protected:
  Schedules() : source_(model_.pack_source()) {
    for (const ExpertKey key : model_.keys()) truth_.push_back(model_.kernel_ready(key));
  }

  const std::vector<std::byte>& truth(ExpertKey key) const {
    return truth_[key.layer * kExperts + key.expert];
  }
  bool shows_truth(const ExpertLease& lease) const {
    const auto& expected = truth(lease.key());
    return std::memcmp(expected.data(), lease.view().gate.data, expected.size()) == 0;
  }

  // One schedule; false when something was wrong.
  void run(uint64_t seed);
  bool serve(ExpertCache& cache, Prng& prng, uint32_t slots);
  void lend_or_take_back(ExpertCache& cache, Prng& prng, std::vector<std::span<std::byte>>& lent);
  std::vector<uint16_t> some_experts(Prng& prng) const;

  TestModel model_{{.hidden = 20, .intermediate = 9, .layers = kLayers, .experts = kExperts}};
  std::unique_ptr<ExpertSource> source_;
  std::vector<std::vector<std::byte>> truth_;
  ManualClock clock_;
  std::vector<ExpertLease> held_;
  uint64_t served_ = 0, failed_ = 0, prefetched_ = 0, lent_ = 0;
};

std::vector<uint16_t> Schedules::some_experts(Prng& prng) const {
  std::vector<uint16_t> experts(kExperts);
  std::iota(experts.begin(), experts.end(), uint16_t{0});
  for (size_t i = kExperts - 1; i > 0; --i) std::swap(experts[i], experts[prng.below(i + 1)]);
  experts.resize(1 + prng.below(kExperts));
  return experts;
}

// A request to its end; some leases are kept beyond it.
bool Schedules::serve(ExpertCache& cache, Prng& prng, uint32_t slots) {
  const auto layer = static_cast<uint16_t>(prng.below(kLayers));
  const std::vector<uint16_t> experts = some_experts(prng);
  const auto path = prng.below(4) == 0 ? CachePath::kSweep : CachePath::kKeep;
  cache.request(layer, experts, path);
  size_t given = 0;
  while (true) {
    if (prng.below(3) == 0) cache.pump();
    auto leases = cache.next();
    if (!leases) {
      EXPECT_NE(leases.error().where.find("expert "), std::string::npos);
      failed_ += 1;
      return true;
    }
    if (leases->empty()) break;
    for (ExpertLease& lease : *leases) {
      given += 1;
      EXPECT_EQ(lease.key().layer, layer);
      if (!shows_truth(lease)) return false;
      const bool keep = held_.size() + 1 < slots && prng.below(8) == 0;
      if (keep) held_.push_back(std::move(lease));
    }
  }
  served_ += 1;
  return given == experts.size();
}

// One slot more or less for something else, as long as two and those of kept leases are left.
void Schedules::lend_or_take_back(ExpertCache& cache, Prng& prng,
                                  std::vector<std::span<std::byte>>& lent) {
  if (prng.below(4) == 0 && cache.slots() > held_.size() + 2) {
    const auto slot = cache.lend();
    ASSERT_TRUE(slot) << to_line(slot.error());
    std::ranges::fill(*slot, kLentByte);
    lent.push_back(*slot);
    lent_ += 1;
  } else if (!lent.empty() && prng.below(4) == 0) {
    cache.take_back(lent.back());
    lent.pop_back();
  }
}

void Schedules::run(uint64_t seed) {
  Prng prng(seed);
  const uint32_t depth = 1 + static_cast<uint32_t>(prng.below(6));
  const double faults = prng.below(2) == 0 ? 0 : 0.03;
  const FaultPlan plan{.seed = seed,
                       .latency_min = microseconds(5),
                       .latency_mean = microseconds(5 + prng.below(100)),
                       .short_read = faults,
                       .io_error = faults,
                       .bit_flip = faults};
  ExpertCacheOptions options;
  options.slots = 2 + static_cast<uint32_t>(prng.below(9));
  options.read_chunk_bytes = 4096;
  options.queue_depth = depth;
  options.prefetch_bytes_per_step = 1 << 20;
  options.drive_bytes_per_second = 1e6;
  options.now_seconds = [this] { return std::chrono::duration<double>(clock_.now).count(); };
  options.make_queue = [&](auto) { return std::make_unique<SimulatedQueue>(depth, plan, clock_); };
  const auto cache = *ExpertCache::create(*source_, options);
  std::vector<std::span<std::byte>> lent;
  for (int round = 0; round < kRounds; ++round) {
    clock_.now += microseconds(prng.below(20'000));
    std::vector<PrefetchJob> jobs(prng.below(4));
    for (PrefetchJob& job : jobs) {
      job = {
          {static_cast<uint16_t>(prng.below(kLayers)), static_cast<uint16_t>(prng.below(kExperts))},
          0.5 + prng.uniform() / 2,
          1 + static_cast<uint32_t>(prng.below(2))};
    }
    cache->prefetch(jobs);
    lend_or_take_back(*cache, prng, lent);
    ASSERT_TRUE(serve(*cache, prng, cache->slots())) << "seed " << seed << ", round " << round;
    for (const ExpertLease& lease : held_) {
      ASSERT_TRUE(shows_truth(lease)) << "seed " << seed << ", round " << round << ", kept";
    }
    if (prng.below(2) == 0) held_.clear();
    for (const auto slot : lent) {
      ASSERT_TRUE(std::ranges::all_of(slot, [](std::byte byte) { return byte == kLentByte; }))
          << "seed " << seed << ", round " << round << ", lent";
    }
  }
  held_.clear();
  prefetched_ += cache->counters().prefetch.hits + cache->counters().prefetch.late;
}

TEST_F(Schedules, AreAllServedTruthfullyOrFailByName) {
  for (uint64_t seed = 1; seed <= kSchedules; ++seed) {
    run(seed);
    if (HasFatalFailure()) return;
  }
  std::printf("%llu schedules: %llu requests served, %llu failed by name, %llu prefetches used\n",
              static_cast<unsigned long long>(kSchedules), static_cast<unsigned long long>(served_),
              static_cast<unsigned long long>(failed_),
              static_cast<unsigned long long>(prefetched_));
  EXPECT_GT(failed_, kSchedules / 100);
  EXPECT_GT(prefetched_, kSchedules / 10);
  EXPECT_GT(lent_, kSchedules / 10);
}

}  // namespace
}  // namespace switchyard
