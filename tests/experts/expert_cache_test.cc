#include "experts/expert_cache.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <vector>

#include "storage/pread_queue.h"
#include "storage/simulated_queue.h"
#include "tests/experts/test_model.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;
using std::chrono::nanoseconds;
using Experts = std::vector<uint16_t>;

// What a lease shows is what the model has.
void expect_true(const TestModel& model, const ExpertLease& lease) {
  const std::vector<std::byte> truth = model.kernel_ready(lease.key());
  ASSERT_TRUE(std::equal(truth.begin(), truth.end(), lease.view().gate.data))
      << "layer " << lease.key().layer << ", expert " << lease.key().expert;
  ASSERT_EQ(lease.view().down.data, lease.view().gate.data + 2 * model.layout().gate_bytes());
  ASSERT_EQ(lease.view().up.rows, model.layout().intermediate);
}

Experts experts_of(const std::vector<ExpertLease>& leases) {
  Experts experts;
  for (const ExpertLease& lease : leases) experts.push_back(lease.key().expert);
  return experts;
}

// All experts in the order in which they came, leases given back after each call.
Result<Experts> run(const TestModel& model, ExpertCache& cache, uint16_t layer,
                    const Experts& experts) {
  cache.request(layer, experts);
  Experts came;
  while (true) {
    const std::vector<ExpertLease> leases = TRY(cache.next());
    if (leases.empty()) return came;
    for (const ExpertLease& lease : leases) {
      EXPECT_EQ(lease.key().layer, layer);
      expect_true(model, lease);
      came.push_back(lease.key().expert);
    }
  }
}

Experts sorted(Experts experts) {
  std::sort(experts.begin(), experts.end());
  return experts;
}

class ExpertCacheTest : public testing::TestWithParam<bool> {
 protected:
  bool packed() const { return GetParam(); }
  std::unique_ptr<ExpertSource> source(TestModel& model) const {
    return packed() ? model.pack_source() : model.folder_source();
  }
  // A cache on a simulated drive.
  std::unique_ptr<ExpertCache> make(const ExpertSource& source, uint32_t slots,
                                    const FaultPlan& plan = {}, uint32_t depth = 8,
                                    uint32_t staging = 3) {
    ExpertCacheOptions options;
    options.slots = slots;
    options.staging = staging;
    options.read_chunk_bytes = 4096;
    options.queue_depth = depth;
    options.prefetch_bytes_per_step = 1 << 20;
    options.now_seconds = [this] { return std::chrono::duration<double>(clock_.now).count(); };
    options.on_checksum = [this](uint64_t bytes) { hashed_ += bytes; };
    options.make_queue = [this, plan, depth](std::span<std::byte> slab) {
      slab_ = slab;
      auto queue = std::make_unique<SimulatedQueue>(depth, plan, clock_);
      queue_ = queue.get();
      return queue;
    };
    return *ExpertCache::create(source, options);
  }

  // Filled, and the drive was idle for a while: reading ahead is worth it.
  std::unique_ptr<ExpertCache> make_eager(const TestModel& model, const ExpertSource& source) {
    auto cache = make(source, 8, {.latency_min = microseconds(100)}, 8, 8);
    EXPECT_TRUE(cache->fill({}));
    EXPECT_TRUE(run(model, *cache, 0, {0}));
    clock_.now += microseconds(1000);
    EXPECT_TRUE(run(model, *cache, 1, {0}));
    cache->reset_counters();
    hashed_ = 0;
    return cache;
  }

  void read_ahead(ExpertCache& cache, const std::vector<PrefetchJob>& jobs) {
    cache.prefetch(jobs);
    while (queue_->in_flight() > 0) {
      clock_.now += microseconds(200);
      cache.pump();
    }
  }

  ManualClock clock_;
  SimulatedQueue* queue_ = nullptr;
  std::span<std::byte> slab_;
  uint64_t hashed_ = 0;
};

INSTANTIATE_TEST_SUITE_P(Sources, ExpertCacheTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Pack" : "Folder"; });

TEST_P(ExpertCacheTest, MissesThenHits) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 8);
  EXPECT_EQ(sorted(*run(model, *cache, 1, {3, 0, 7})), (Experts{0, 3, 7}));
  EXPECT_EQ(*run(model, *cache, 1, {7, 0, 3}), (Experts{7, 0, 3}));
  EXPECT_EQ(cache->counters().hits, 3u);
  EXPECT_EQ(cache->counters().misses, 3u);
  const size_t stored = 3 * size_t{24} * 17 * 2;
  EXPECT_EQ(cache->counters().bytes_read, 3 * (packed() ? model.layout().bytes() : stored));
  cache->reset_counters();
  EXPECT_EQ(cache->counters().hits + cache->counters().misses + cache->counters().bytes_read, 0u);
}

TEST_P(ExpertCacheTest, NothingRequestedNothingGiven) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 2);
  EXPECT_EQ(*run(model, *cache, 0, {}), Experts{});
  EXPECT_TRUE(cache->next()->empty());
}

TEST_P(ExpertCacheTest, HitsComeFirstWhileMissesAreRead) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 6, {.latency_min = microseconds(100)});
  ASSERT_TRUE(run(model, *cache, 0, {2, 5}));
  const nanoseconds before = clock_.now;
  cache->request(0, Experts{1, 2, 3, 5});
  EXPECT_GE(queue_->in_flight(), 2u);
  EXPECT_EQ(experts_of(*cache->next()), (Experts{2, 5}));
  EXPECT_EQ(clock_.now, before);  // nothing was waited for
  Experts rest;
  while (true) {
    const auto leases = *cache->next();
    if (leases.empty()) break;
    for (const ExpertLease& lease : leases) rest.push_back(lease.key().expert);
  }
  EXPECT_EQ(sorted(rest), (Experts{1, 3}));
}

TEST_P(ExpertCacheTest, MissesOverlap) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 8, {.latency_min = microseconds(100)}, 64, 8);
  ASSERT_TRUE(run(model, *cache, 0, {0, 1, 2, 3, 4, 5, 6, 7}));
  EXPECT_EQ(clock_.now, nanoseconds(microseconds(100)));
  EXPECT_GT(cache->counters().stall_seconds, 0);
}

TEST_P(ExpertCacheTest, TheQueueIsKeptFull) {
  TestModel model({.hidden = 64, .intermediate = 64, .layers = 1});
  const auto experts = source(model);
  const auto cache = make(*experts, 8, {.latency_min = microseconds(100)}, 4);
  cache->request(0, Experts{0, 1, 2, 3, 4, 5, 6, 7});
  EXPECT_EQ(queue_->in_flight(), 4u);
  ASSERT_TRUE(cache->next());
  EXPECT_EQ(queue_->in_flight(), 4u);
  while (!cache->next()->empty()) continue;
}

TEST_P(ExpertCacheTest, OneSlotServesAnyRequestInTurn) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 1, {.latency_min = microseconds(10)}, 2, 1);
  EXPECT_EQ(*run(model, *cache, 2, {5, 1, 4, 0}), (Experts{5, 1, 4, 0}));
  EXPECT_EQ(*run(model, *cache, 1, {5, 1, 4, 0}), (Experts{5, 1, 4, 0}));
  EXPECT_EQ(*run(model, *cache, 1, {3, 0, 2}), (Experts{0, 3, 2}));  // the hit has the only slot
}

TEST_P(ExpertCacheTest, AllSlotsLeasedByHits) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 3);
  ASSERT_TRUE(run(model, *cache, 0, {0, 1, 2}));
  const Experts came = *run(model, *cache, 0, {6, 2, 1, 0, 5, 4, 3});
  EXPECT_EQ((Experts{came.begin(), came.begin() + 3}), (Experts{2, 1, 0}));
  EXPECT_EQ(sorted(came), (Experts{0, 1, 2, 3, 4, 5, 6}));
}

TEST_P(ExpertCacheTest, LeastRecentlyUsedGoesFirst) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 3);
  for (const uint16_t expert : {0, 1, 2, 0, 3}) ASSERT_TRUE(run(model, *cache, 0, {expert}));
  cache->reset_counters();
  for (const uint16_t expert : {0, 2, 3}) ASSERT_TRUE(run(model, *cache, 0, {expert}));
  EXPECT_EQ(cache->counters().misses, 0u);
  ASSERT_TRUE(run(model, *cache, 0, {1}));
  EXPECT_EQ(cache->counters().misses, 1u);
}

TEST_P(ExpertCacheTest, ALeaseForbidsEviction) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 2);
  cache->request(0, Experts{0});
  std::vector<ExpertLease> held = *cache->next();
  ASSERT_TRUE(cache->next()->empty());
  const ExpertLease moved = std::move(held[0]);
  held.clear();
  for (uint16_t expert = 1; expert < 8; ++expert) ASSERT_TRUE(run(model, *cache, 0, {expert}));
  expect_true(model, moved);
  cache->reset_counters();
  ASSERT_TRUE(run(model, *cache, 0, {0}));
  EXPECT_EQ(cache->counters().hits, 1u);
}

TEST_P(ExpertCacheTest, FillTakesTheFirstExpertsAndCountsNothing) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 10, {.latency_mean = microseconds(50)});
  std::vector<uint64_t> done;
  ASSERT_TRUE(cache->fill([&](uint64_t bytes_done, uint64_t bytes_all) {
    done.push_back(bytes_done);
    EXPECT_LE(bytes_done, bytes_all);
    EXPECT_EQ(done.size() == 10, bytes_done == bytes_all);
  }));
  EXPECT_EQ(done.size(), 10u);
  EXPECT_TRUE(std::is_sorted(done.begin(), done.end()));
  EXPECT_EQ(cache->counters().misses + cache->counters().bytes_read, 0u);
  EXPECT_EQ(cache->counters().stall_seconds, 0);
  ASSERT_TRUE(run(model, *cache, 0, {0, 1, 2, 3, 4, 5, 6, 7}));
  ASSERT_TRUE(run(model, *cache, 1, {0, 1}));
  EXPECT_EQ(cache->counters().hits, 10u);
  EXPECT_EQ(cache->counters().misses, 0u);
}

TEST_P(ExpertCacheTest, FillWithMoreSlotsThanExperts) {
  TestModel model({.layers = 1, .experts = 2});
  const auto experts = source(model);
  const auto cache = make(*experts, 5);
  ASSERT_TRUE(cache->fill({}));
  ASSERT_TRUE(run(model, *cache, 0, {0, 1}));
  EXPECT_EQ(cache->counters().hits, 2u);
}

TEST_P(ExpertCacheTest, DestroyedWhileReading) {
  TestModel model({.hidden = 128, .intermediate = 128});
  const auto experts = source(model);
  ExpertCacheOptions options{.slots = 8, .staging = 8, .read_chunk_bytes = 4096};
  options.make_queue = [](auto) { return std::make_unique<PreadQueue>(16); };
  const auto cache = *ExpertCache::create(*experts, options);
  ASSERT_TRUE(run(model, *cache, 0, {6, 7}));
  cache->request(0, Experts{0, 1, 2, 3, 4, 5, 6, 7});  // with hits that nobody takes
}

// Whatever queue this machine gives.
TEST_P(ExpertCacheTest, OwnQueue) {
  TestModel model({.hidden = 96, .intermediate = 40});
  const auto experts = source(model);
  const auto cache = *ExpertCache::create(*experts, {.slots = 5, .staging = 2});
  EXPECT_FALSE(cache->queue_name().empty());
  EXPECT_EQ(cache->warning().find('\n'), std::string::npos);
  ASSERT_TRUE(cache->fill({}));
  for (uint16_t layer = 0; layer < 3; ++layer) {
    ASSERT_TRUE(run(model, *cache, layer, {7, 6, 5, 4, 3, 2, 1, 0}));
  }
}

TEST_P(ExpertCacheTest, UnknownPolicy) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = ExpertCache::create(*experts, {.slots = 1, .staging = 1, .policy = "best"});
  ASSERT_FALSE(cache);
  EXPECT_EQ(cache.error().code, Code::kUsage);
}

TEST_P(ExpertCacheTest, SlabBytes) {
  TestModel model({});
  const auto experts = source(model);
  const uint64_t slots = 5 * experts->layout().slot_bytes();
  EXPECT_EQ(ExpertCache::slab_bytes(*experts, 5, 2),
            packed() ? slots : slots + 2 * experts->staging_bytes());
}

// Thousands of random requests on a drive that fails now and then: what is handed out is right,
// complete when no error came, and after an error the next request is served.
TEST_P(ExpertCacheTest, NothingWrongIsEverHandedOut) {
  TestModel model({.dtype = DType::kF16, .hidden = 40, .intermediate = 33});
  const auto experts = source(model);
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Prng prng(seed);
    const FaultPlan plan{.seed = seed,
                         .latency_min = microseconds(20),
                         .latency_mean = microseconds(80),
                         .short_read = 0.02,
                         .io_error = 0.03,
                         .bit_flip = packed() ? 0.03 : 0};  // a folder has no checksums
    const auto cache =
        make(*experts, 1 + prng.below(20), plan, 1 + prng.below(20), 1 + prng.below(6));
    int served = 0, failed = 0;
    for (int round = 0; round < 400; ++round) {
      Experts wanted(8);
      std::iota(wanted.begin(), wanted.end(), uint16_t{0});
      for (size_t i = 7; i > 0; --i) std::swap(wanted[i], wanted[prng.below(i + 1)]);
      wanted.resize(prng.below(9));
      const auto came = run(model, *cache, static_cast<uint16_t>(prng.below(3)), wanted);
      if (HasFatalFailure()) return;
      if (!came) {
        failed += 1;
        EXPECT_NE(came.error().where.find("expert "), std::string::npos) << to_line(came.error());
        continue;
      }
      served += 1;
      ASSERT_EQ(sorted(*came), sorted(wanted)) << "round " << round;
    }
    EXPECT_GT(served, 200);
    EXPECT_GT(failed, 0);
  }
}

// What was prefetched in time is a hit; what was not is finished as demand.
TEST_P(ExpertCacheTest, PrefetchedExpertsAreHits) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make_eager(model, *experts);
  read_ahead(*cache, {{{2, 3}, 0.9, 1}, {{2, 4}, 0.9, 1}});
  EXPECT_EQ(*run(model, *cache, 2, {3}), Experts{3});
  EXPECT_EQ(cache->counters().hits, 1u);
  EXPECT_EQ(cache->counters().prefetch.started, 2u);
  EXPECT_EQ(cache->counters().prefetch.hits, 1u);
  cache->prefetch(std::vector<PrefetchJob>{{{1, 7}, 0.9, 1}});
  EXPECT_EQ(*run(model, *cache, 1, {7}), Experts{7});
  EXPECT_EQ(cache->counters().misses, 1u);
  EXPECT_EQ(cache->counters().prefetch.late, 1u);
}

// A checksum is taken of what is wanted, then; what was damaged on its way is read again.
TEST_P(ExpertCacheTest, WhatIsReadAheadIsVerifiedWhenItIsWanted) {
  if (!packed()) GTEST_SKIP() << "what is staged is verified when it goes to its slot";
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make_eager(model, *experts);
  read_ahead(*cache, {{{2, 3}, 0.9, 1}, {{2, 4}, 0.9, 1}});
  const std::vector<std::byte> truth = model.kernel_ready({2, 4});
  EXPECT_EQ(cache->counters().bytes_read, 2 * truth.size());
  EXPECT_EQ(hashed_, 0u);
  const auto at = std::search(slab_.begin(), slab_.end(), truth.begin(), truth.end());
  ASSERT_NE(at, slab_.end());
  *at ^= std::byte{1};
  EXPECT_EQ(sorted(*run(model, *cache, 2, {3, 4})), (Experts{3, 4}));
  EXPECT_EQ(hashed_, 3 * truth.size());
  EXPECT_EQ(cache->counters().hits, 1u);
  EXPECT_EQ(cache->counters().misses, 1u);
  EXPECT_EQ(cache->counters().retries, 0u) << "a guess's failure is none of demand's";
  EXPECT_EQ(cache->counters().prefetch.hits, 1u);
  EXPECT_EQ(cache->counters().prefetch.wasted_bytes, truth.size());
}

// What is foreseen of the next step may be of the layer whose misses are not all started.
TEST_P(ExpertCacheTest, JobsOfTheRequestsOwnLayerArePassedOver) {
  TestModel model({.layers = 2, .experts = 32});
  const auto experts = source(model);
  const auto cache = make(*experts, 20, {.latency_min = microseconds(100)}, 64, 20);
  ASSERT_TRUE(cache->fill({}));
  ASSERT_TRUE(run(model, *cache, 0, {0}));
  clock_.now += microseconds(1000);
  ASSERT_TRUE(run(model, *cache, 0, {0}));
  Experts all(32);
  std::iota(all.begin(), all.end(), uint16_t{0});
  cache->reset_counters();
  cache->request(1, all, CachePath::kSweep);
  cache->prefetch(std::vector<PrefetchJob>{{{1, 31}, 0.9, 2}});
  for (size_t came = 0; came < all.size();) {
    const auto leases = *cache->next();
    for (const ExpertLease& lease : leases) expect_true(model, lease);
    came += leases.size();
    clock_.now += microseconds(1000);
    cache->pump();
  }
  EXPECT_TRUE(cache->next()->empty());
  EXPECT_EQ(cache->counters().prefetch.started, 0u);
}

// A sweep over many experts leaves what was resident before, but for the few slots it goes through.
TEST_P(ExpertCacheTest, ASweepLeavesTheRestAlone) {
  TestModel model({.layers = 2, .experts = 32});
  const auto experts = source(model);
  const auto cache = make(*experts, 20);
  ASSERT_TRUE(cache->fill({}));
  Experts all(32);
  std::iota(all.begin(), all.end(), uint16_t{0});
  cache->request(1, all, CachePath::kSweep);
  while (true) {
    const auto leases = *cache->next();
    if (leases.empty()) break;
    for (const ExpertLease& lease : leases) expect_true(model, lease);
  }
  cache->reset_counters();
  ASSERT_TRUE(run(model, *cache, 0, all));
  EXPECT_GE(cache->counters().hits, 12u);
}

using ExpertCacheDeathTest = ExpertCacheTest;
INSTANTIATE_TEST_SUITE_P(Sources, ExpertCacheDeathTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Pack" : "Folder"; });

TEST_P(ExpertCacheDeathTest, Misuse) {
  TestModel model({});
  const auto experts = source(model);
  const auto cache = make(*experts, 2);
  EXPECT_DEATH((void)ExpertCache::create(*experts, {.slots = 0, .staging = 1}), "bug");
  cache->request(0, Experts{0, 1, 2});
  EXPECT_DEATH(cache->request(1, Experts{0}), "bug");
  const auto held = *cache->next();
  ASSERT_EQ(held.size(), 2u);
  EXPECT_DEATH((void)cache->next(), "the leases on all 2 slots are held");
}

}  // namespace
}  // namespace switchyard
