#include "experts/device_tier.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <set>
#include <vector>

#include "experts/expert_cache.h"
#include "runtime/base/prng.h"
#include "runtime/base/units.h"
#include "runtime/device/host_device.h"
#include "runtime/device/simulated_device.h"
#include "runtime/device/slab.h"
#include "storage/simulated_queue.h"
#include "tests/experts/test_model.h"

namespace switchyard {
namespace {

using std::chrono::microseconds;
using testing::HasSubstr;

constexpr uint64_t kExpertsThatFit = 3;
constexpr double kMemoryRate = 1e9;  // a byte a nanosecond
constexpr double kSlowLink = kMemoryRate / 4, kFastLink = kMemoryRate * 4;

// A host device whose copies fail when they end, or at once.
class FailingDevice : public Device {
 public:
  FailingDevice(uint64_t capacity_bytes, bool at_once)
      : inner_(capacity_bytes), at_once_(at_once) {}
  std::string_view name() const override { return "failing"; }
  uint64_t capacity_bytes() const override { return inner_.capacity_bytes(); }
  bool host_readable() const override { return true; }
  LinkRates link() const override { return {kFastLink, 0}; }
  uint64_t host_bytes_peak() const override { return 0; }
  Result<DeviceMemory> allocate(size_t bytes, const char* what) override {
    return inner_.allocate(bytes, what);
  }
  Result<std::unique_ptr<HostPin>> pin(std::span<std::byte>) override { return error(); }
  Result<std::unique_ptr<CopyEvent>> copy_to_device(std::span<const std::byte>,
                                                    std::span<std::byte>) override {
    if (at_once_) return error();
    return std::make_unique<FailedEvent>();
  }
  Result<std::unique_ptr<CopyEvent>> copy_to_host(std::span<const std::byte>,
                                                  std::span<std::byte>) override {
    return error();
  }

 private:
  static tl::unexpected<Error> error() { return fail(Code::kUnavailable, "it broke", "failing"); }
  struct FailedEvent : CopyEvent {
    Result<bool> done() override { return error(); }
    Status wait(double) override { return error(); }
  };
  void release(std::span<std::byte>) override {}
  HostDevice inner_;
  const bool at_once_;
};

class DeviceTierTest : public testing::Test {
 protected:
  DeviceTierTest()
      : source_(model_.pack_source()),
        slab_(*Slab::allocate(8 * source_->slot_bytes(), "a test")),
        host_(slab_.span(), source_->slot_bytes(), source_->keys(), policy(8)) {}

  std::unique_ptr<EvictionPolicy> policy(uint32_t slots) const {
    return *make_policy("lru", {.slots = slots, .keys = source_->keys()});
  }
  uint64_t capacity() const { return kExpertsThatFit * source_->slot_bytes(); }
  double expert_seconds(double rate) const {
    return static_cast<double>(source_->expert_bytes()) / rate;
  }

  std::shared_ptr<Device> simulated(double bytes_per_second) {
    return std::make_shared<SimulatedDevice>(
        capacity(),
        SimulatedLink{.bytes_per_second = bytes_per_second,
                      .now_seconds = [this] { return now_; },
                      .sleep_until = [this](double seconds) { now_ = std::max(now_, seconds); }});
  }
  std::unique_ptr<DeviceTier> make(Device& device) {
    auto tier = DeviceTier::create(device, *source_, host_, slab_.span(),
                                   {.policy = "lru", .memory_bytes_per_second = kMemoryRate});
    EXPECT_TRUE(tier) << to_line(tier.error());
    return std::move(*tier);
  }

  // The expert in a slot of the host, as if it had been read.
  SlotIndex load(uint16_t expert) {
    const ExpertKey key{0, expert};
    if (const auto slot = host_.find(key)) return *slot;
    const SlotIndex slot = *host_.take(key);
    const auto truth = model_.kernel_ready(key);
    std::copy(truth.begin(), truth.end(), host_.memory(slot).data());
    host_.loaded(slot);
    return slot;
  }
  // Used so often, each time in another step, from the host.
  void use(DeviceTier& tier, uint16_t expert, int times) {
    for (int i = 0; i < times; ++i) {
      tier.begin_layer(0);
      const auto leased = tier.use({0, expert});
      if (leased) leased->pool->unlease(leased->slot);
    }
  }
  // With leases on all the others.
  bool free_of_leases(SlotIndex slot) {
    for (uint32_t i = 0; i < host_.size(); ++i) {
      if (host_.residency({i}) == Residency::kResident && i != slot.value) host_.lease({i});
    }
    const bool free = host_.victim(SlotPool::Victims::kAny).has_value();
    for (uint32_t i = 0; i < host_.size(); ++i) {
      if (host_.residency({i}) == Residency::kResident && i != slot.value) host_.unlease({i});
    }
    return free;
  }

  TestModel model_{{.layers = 2}};
  std::unique_ptr<ExpertSource> source_;
  Slab slab_;
  SlotPool host_;
  double now_ = 1;
};

TEST(DeviceCosts, AreWeighed) {
  const DeviceCosts costs{.copy_seconds = 3, .compute_seconds = 2, .read_seconds = 10};
  EXPECT_FALSE(costs.copy_first(0));
  EXPECT_TRUE((DeviceCosts{.copy_seconds = 1, .compute_seconds = 2}.copy_first(0.5)));
  EXPECT_FALSE((DeviceCosts{.copy_seconds = 1, .compute_seconds = 2}.copy_first(1)));
  EXPECT_FALSE(costs.copy_pays(1.5, 0));
  EXPECT_TRUE(costs.copy_pays(1.6, 0));
  EXPECT_TRUE(costs.copy_pays(1, 0.2));  // it saves a read now and then
  EXPECT_FALSE(costs.copy_pays(0, 1));
}

enum class Kind { kHost, kSimulated, kCuda };

class DeviceTierOnEvery : public DeviceTierTest, public testing::WithParamInterface<Kind> {
 protected:
  Result<std::shared_ptr<Device>> device() {
    if (GetParam() == Kind::kHost) return std::make_shared<HostDevice>(capacity());
    return GetParam() == Kind::kCuda ? make_device("cuda") : make_device("sim:64KiB,1GB/s,1us");
  }
};

INSTANTIATE_TEST_SUITE_P(Devices, DeviceTierOnEvery,
                         testing::Values(Kind::kHost, Kind::kSimulated, Kind::kCuda),
                         [](const auto& info) {
                           if (info.param == Kind::kHost) return "Host";
                           return info.param == Kind::kCuda ? "Cuda" : "Simulated";
                         });

TEST_P(DeviceTierOnEvery, WhatIsUsedOftenComesToLieThere) {
  const auto device = this->device();
  if (!device) GTEST_SKIP() << "no CUDA device: " << to_line(device.error());
  const auto tier = make(**device);
  ASSERT_GE(tier->slots(), kExpertsThatFit);
  for (const uint16_t expert : {2, 5}) {
    use(*tier, expert, 200);
    tier->offer(load(expert));
    ASSERT_TRUE(tier->copying());
    ASSERT_TRUE(tier->wait());
    ASSERT_FALSE(tier->copying());
    const auto leased = tier->use({0, expert});
    ASSERT_TRUE(leased);
    const auto truth = model_.kernel_ready({0, expert});
    std::vector<std::byte> found(truth.size());
    const auto there = tier->pool().memory(leased->slot).first(truth.size());
    ASSERT_TRUE((*(*device)->copy_to_host(there, found))->wait(10));
    EXPECT_EQ(found, truth);
    leased->pool->unlease(leased->slot);
  }
  EXPECT_EQ(tier->counters().copies, 2u);
  EXPECT_EQ(tier->counters().copied_bytes, 2 * source_->expert_bytes());
  EXPECT_EQ(tier->counters().hits, 2u);
}

TEST_F(DeviceTierTest, TheHostsSlotStaysLeasedWhileItIsCopied) {
  const auto device = simulated(kSlowLink);
  const auto tier = make(*device);
  const SlotIndex slot = load(4);
  use(*tier, 4, 20);
  tier->offer(slot);
  tier->offer(slot);  // it is on its way
  EXPECT_FALSE(tier->use({0, 4}));
  EXPECT_FALSE(free_of_leases(slot));
  now_ += 0.9 * expert_seconds(kSlowLink);
  tier->poll();
  EXPECT_FALSE(free_of_leases(slot));
  now_ += 0.2 * expert_seconds(kSlowLink);
  tier->poll();
  EXPECT_TRUE(free_of_leases(slot));
  EXPECT_EQ(host_.transient(), 1u);  // the host's copy is the first to go
  EXPECT_TRUE(tier->holds({0, 4}));
  EXPECT_EQ(tier->counters().copies, 1u);
}

TEST_F(DeviceTierTest, OnlyWhatPaysIsCopied) {
  const auto device = simulated(kSlowLink);  // a copy takes as long as computing four times
  const auto tier = make(*device);
  use(*tier, 1, 3);
  tier->offer(load(1));
  EXPECT_FALSE(tier->copying());
  use(*tier, 1, 3);
  tier->offer(load(1));
  EXPECT_TRUE(tier->copying());
}

TEST_F(DeviceTierTest, AFullDeviceGivesWayToWhatIsUsedMore) {
  const auto device = simulated(kSlowLink);
  const auto tier = make(*device);
  for (const uint16_t expert : {0, 1, 2}) {
    use(*tier, expert, 8);
    tier->offer(load(expert));
    ASSERT_TRUE(tier->copying());
    ASSERT_TRUE(tier->wait());
  }
  use(*tier, 3, 7);
  tier->offer(load(3));
  EXPECT_FALSE(tier->copying()) << "not used more than what would go";
  use(*tier, 3, 10);
  tier->offer(load(3));
  ASSERT_TRUE(tier->copying());
  ASSERT_TRUE(tier->wait());
  EXPECT_TRUE(tier->holds({0, 3}));
  EXPECT_FALSE(tier->holds({0, 0})) << "the policy's choice";
}

TEST_F(DeviceTierTest, CopiesFirstWhereTheLinkIsFasterThanMemory) {
  const auto slow = simulated(kSlowLink);
  EXPECT_FALSE(make(*slow)->fetch(load(0)));
  const auto fast = simulated(kFastLink);
  const auto tier = make(*fast);
  EXPECT_TRUE(tier->fetch(load(0)));
  EXPECT_FALSE(tier->fetch(load(0)));  // it is on its way
  EXPECT_TRUE(tier->fetching());
  EXPECT_TRUE(tier->take_fetched().empty());
  ASSERT_TRUE(tier->wait());
  const auto fetched = tier->take_fetched();
  ASSERT_EQ(fetched.size(), 1u);
  EXPECT_EQ(fetched[0].pool, &tier->pool());
  EXPECT_FALSE(tier->fetching());
  for (const uint16_t expert : {1, 2}) EXPECT_TRUE(tier->fetch(load(expert)));
  EXPECT_FALSE(tier->fetch(load(3))) << "every slot is leased or being filled";
  ASSERT_TRUE(tier->wait());
  tier->drop_fetched();
  fetched[0].pool->unlease(fetched[0].slot);
}

TEST_F(DeviceTierTest, WaitsForItsCopiesAtTheEnd) {
  const auto device = simulated(kSlowLink);
  const SlotIndex slot = load(4);
  {
    const auto tier = make(*device);
    use(*tier, 4, 20);
    tier->offer(slot);
    EXPECT_FALSE(free_of_leases(slot));
  }
  EXPECT_TRUE(free_of_leases(slot));
  EXPECT_NEAR(now_, 1 + expert_seconds(kSlowLink), 1e-9);
}

TEST_F(DeviceTierTest, WhatCannotBeCopiedIsComputedWhereItIs) {
  FailingDevice at_once(capacity(), true), late(capacity(), false);
  const auto refusing = make(at_once);
  EXPECT_THAT(refusing->warning(), HasSubstr("failing: it broke"));
  EXPECT_FALSE(refusing->fetch(load(0)));
  EXPECT_EQ(refusing->counters().copies_failed, 1u);
  const auto failing = make(late);
  ASSERT_TRUE(failing->fetch(load(0)));
  ASSERT_TRUE(failing->wait());
  const auto fetched = failing->take_fetched();
  ASSERT_EQ(fetched.size(), 1u);
  EXPECT_EQ(fetched[0].pool, &host_);
  EXPECT_EQ(host_.key(fetched[0].slot), (ExpertKey{0, 0}));
  host_.unlease(fetched[0].slot);
  EXPECT_EQ(failing->counters().copies_failed, 1u);
  EXPECT_EQ(failing->counters().copies, 0u);
  EXPECT_EQ(failing->pool().absent(), kExpertsThatFit);
}

TEST_F(DeviceTierTest, ADeviceSmallerThanAnExpertIsRefused) {
  HostDevice device(source_->slot_bytes() - 1);
  const auto tier = DeviceTier::create(device, *source_, host_, slab_.span(), {});
  ASSERT_FALSE(tier);
  EXPECT_EQ(tier.error().code, Code::kNoMemory);
  EXPECT_THAT(tier.error().hint, HasSubstr(size_option(source_->slot_bytes())));
}

// A cache over a device and a drive on one manual clock.
struct CacheShape {
  uint32_t slots;
  uint64_t device_slots;
  double link;
};

class CacheOverDevice : public testing::TestWithParam<CacheShape> {};

INSTANTIATE_TEST_SUITE_P(Shapes, CacheOverDevice,
                         testing::Values(CacheShape{1, 1, kSlowLink}, CacheShape{1, 2, kFastLink},
                                         CacheShape{4, 5, 100 * kSlowLink},
                                         CacheShape{4, 5, kFastLink}, CacheShape{6, 3, kSlowLink},
                                         CacheShape{8, 24, kFastLink},
                                         CacheShape{24, 8, kSlowLink}),
                         [](const auto& info) {
                           const CacheShape& shape = info.param;
                           return fmt::format("{}Slots{}On{:.0f}MBps", shape.slots,
                                              shape.device_slots, shape.link / 1e6);
                         });

TEST_P(CacheOverDevice, EveryExpertComesOnceAndTrue) {
  TestModel model({.layers = 3});
  const auto source = model.pack_source();
  ManualClock clock;
  const auto now = [&] { return std::chrono::duration<double>(clock.now).count(); };
  SimulatedDevice device(
      GetParam().device_slots * source->slot_bytes(),
      {.bytes_per_second = GetParam().link, .now_seconds = now, .sleep_until = [&](double seconds) {
         while (now() < seconds) clock.now += microseconds(1);
       }});
  ExpertCacheOptions options;
  options.slots = GetParam().slots;
  options.read_chunk_bytes = 4096;
  options.queue_depth = 4;
  options.prefetch_bytes_per_step = 1 << 20;
  options.now_seconds = now;
  options.make_queue = [&](std::span<std::byte>) {
    const FaultPlan plan{.seed = 3, .latency_min = microseconds(20), .io_error = 0.01};
    return std::make_unique<SimulatedQueue>(4, plan, clock);
  };
  options.device = &device;
  options.memory_bytes_per_second = kMemoryRate;
  const auto cache = *ExpertCache::create(*source, options);
  ASSERT_EQ(cache->device_slots(), std::min<uint64_t>(GetParam().device_slots, 24));
  Prng prng(7);
  uint64_t wanted = 0;
  for (int step = 0; step < 300; ++step) {
    for (uint16_t layer = 0; layer < 3; ++layer) {
      std::set<uint16_t> experts;
      // Half of the uses go to two experts.
      while (experts.size() < 3) {
        experts.insert(static_cast<uint16_t>(prng.next() % (prng.next() % 2 == 0 ? 2 : 8)));
      }
      cache->request(layer, std::vector<uint16_t>(experts.begin(), experts.end()),
                     step % 16 == 5 ? CachePath::kSweep : CachePath::kKeep);
      if (step % 3 == 0) {
        const PrefetchJob job{{static_cast<uint16_t>((layer + 1) % 3), 7}, 0.9, 1};
        cache->prefetch({&job, 1});
      }
      bool failed = false;
      while (true) {
        const auto leases = cache->next();
        failed = !leases.has_value();  // an expert that could not be read twice
        if (failed || leases->empty()) break;
        clock.now += microseconds(3);
        for (const ExpertLease& lease : *leases) {
          ASSERT_EQ(lease.key().layer, layer);
          ASSERT_EQ(experts.erase(lease.key().expert), 1u);
          const auto truth = model.kernel_ready(lease.key());
          ASSERT_TRUE(std::equal(truth.begin(), truth.end(), lease.view().gate.data));
        }
        cache->pump();
      }
      ASSERT_TRUE(failed || experts.empty());
      wanted += 3;
    }
  }
  const ExpertCacheCounters counters = cache->counters();
  EXPECT_EQ(counters.hits + counters.misses, wanted);
  EXPECT_GT(counters.device.copies, 0u);
  EXPECT_GT(counters.device.hits, 0u);
  EXPECT_LE(counters.device.hits, counters.hits);
}

TEST(CacheOverDeviceOrder, TheDevicesComeFirst) {
  TestModel model({.layers = 1});
  const auto source = model.pack_source();
  SimulatedDevice device(source->slot_bytes(), {.bytes_per_second = kSlowLink});
  ExpertCacheOptions options;
  options.slots = 8;
  options.device = &device;
  options.memory_bytes_per_second = kMemoryRate;
  const auto cache = *ExpertCache::create(*source, options);
  const auto run = [&](std::vector<uint16_t> experts) {
    cache->request(0, experts);
    std::vector<uint16_t> came;
    while (true) {
      const auto leases = *cache->next();
      if (leases.empty()) return came;
      for (const ExpertLease& lease : leases) came.push_back(lease.key().expert);
    }
  };
  (void)run({0, 1, 2, 3});
  while (cache->counters().device.copies == 0) (void)run({2});
  EXPECT_EQ(run({0, 1, 2, 3}), (std::vector<uint16_t>{2, 0, 1, 3}));
}

}  // namespace
}  // namespace switchyard
