#include "runtime/device/device.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <vector>

#include "runtime/base/align.h"
#include "runtime/base/prng.h"
#include "runtime/base/units.h"
#include "runtime/device/host_device.h"
#include "runtime/device/simulated_device.h"

namespace switchyard {
namespace {

using testing::HasSubstr;

constexpr uint64_t kCapacity = uint64_t{8} << 20;
constexpr double kTimeout = 10;

struct HostKind {
  static Result<std::shared_ptr<Device>> make() { return std::make_shared<HostDevice>(kCapacity); }
};
struct SimulatedKind {
  static Result<std::shared_ptr<Device>> make() { return make_device("sim:8MiB,4GB/s,50us"); }
};
struct CudaKind {
  static Result<std::shared_ptr<Device>> make() { return make_device("cuda"); }
};

std::vector<std::byte> random_bytes(size_t count, uint64_t seed) {
  Prng prng(seed);
  std::vector<std::byte> bytes(count);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(prng.next());
  return bytes;
}

template <class Kind>
class DeviceTest : public testing::Test {
 protected:
  void SetUp() override {
    auto device = Kind::make();
    if (!device) {
      ASSERT_THAT(device.error().code, testing::AnyOf(Code::kConfig, Code::kUnavailable));
      GTEST_SKIP() << "no CUDA device: " << to_line(device.error());
    }
    device_ = *device;
  }
  // What the device's memory holds.
  std::vector<std::byte> read(std::span<const std::byte> bytes) {
    std::vector<std::byte> host(bytes.size());
    EXPECT_TRUE((*device_->copy_to_host(bytes, host))->wait(kTimeout));
    return host;
  }

  std::shared_ptr<Device> device_;
};

using Kinds = testing::Types<HostKind, SimulatedKind, CudaKind>;
struct KindName {
  template <class Kind>
  static std::string GetName(int) {
    if (std::is_same_v<Kind, HostKind>) return "Host";
    return std::is_same_v<Kind, CudaKind> ? "Cuda" : "Simulated";
  }
};
TYPED_TEST_SUITE(DeviceTest, Kinds, KindName);

TYPED_TEST(DeviceTest, BytesComeBackAsTheyWent) {
  const DeviceMemory memory = this->device_->allocate(3 * kPageBytes, "a test").value();
  ASSERT_EQ(memory.size(), 3 * kPageBytes);
  const auto sent = random_bytes(kPageBytes + 17, 1);
  const auto event = this->device_->copy_to_device(sent, memory.span().subspan(40)).value();
  ASSERT_TRUE(event->wait(kTimeout));
  EXPECT_TRUE(event->done().value());
  EXPECT_EQ(this->read(memory.span().subspan(40, sent.size())), sent);
}

TYPED_TEST(DeviceTest, CopiesEndInTheirOrder) {
  const DeviceMemory memory = this->device_->allocate(1 << 20, "a test").value();
  const auto first = random_bytes(1 << 20, 1), second = random_bytes(1 << 19, 2);
  const auto begun = this->device_->copy_to_device(first, memory.span()).value();
  const auto then = this->device_->copy_to_device(second, memory.span()).value();
  ASSERT_TRUE(then->wait(kTimeout));
  EXPECT_TRUE(begun->done().value());
  const auto found = this->read(memory.span());
  EXPECT_TRUE(std::equal(second.begin(), second.end(), found.begin()));
  EXPECT_TRUE(
      std::equal(first.begin() + second.size(), first.end(), found.begin() + second.size()));
}

TYPED_TEST(DeviceTest, CopiesFromPinnedMemoryGoOnWithoutTheirEvents) {
  auto sent = random_bytes(1 << 18, 3);
  const auto pin = this->device_->pin(sent);
  ASSERT_TRUE(pin) << to_line(pin.error());
  const DeviceMemory memory = this->device_->allocate(1 << 18, "a test").value();
  (void)this->device_->copy_to_device(sent, memory.span()).value();
  EXPECT_EQ(this->read(memory.span()), sent);
}

TYPED_TEST(DeviceTest, MemoryIsGivenBackAndNotGivenTwice) {
  const uint64_t all = this->device_->capacity_bytes();
  const size_t half = all / 2 + 1;
  if (all <= kCapacity) {
    DeviceMemory memory = this->device_->allocate(half, "the first half").value();
    const auto refused = this->device_->allocate(half, "the second half");
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Code::kNoMemory);
    EXPECT_THAT(to_line(refused.error()), HasSubstr("the second half"));
    memory = {};
  }
  EXPECT_TRUE(this->device_->allocate(half, "the first half again"));
  const auto too_much = this->device_->allocate(64 * (all + 1), "more than there is");
  ASSERT_FALSE(too_much);
  EXPECT_EQ(too_much.error().code, Code::kNoMemory);
}

TYPED_TEST(DeviceTest, MemoryMayGoWhileACopyIsUnderWay) {
  const auto sent = random_bytes(1 << 20, 4);
  DeviceMemory memory = this->device_->allocate(1 << 20, "a test").value();
  const auto event = this->device_->copy_to_device(sent, memory.span()).value();
  memory = {};
  EXPECT_TRUE(event->done().value());
}

class SimulatedDeviceTest : public testing::Test {
 protected:
  // 1 MB/s: a microsecond a byte.
  SimulatedDevice make(double latency_seconds) {
    return {kCapacity,
            {.bytes_per_second = 1e6,
             .latency_seconds = latency_seconds,
             .now_seconds = [this] { return now_; },
             .sleep_until = [this](double seconds) { now_ = std::max(now_, seconds); }}};
  }
  double now_ = 100;
};

TEST_F(SimulatedDeviceTest, TheLinkCarriesOneCopyAfterTheOther) {
  SimulatedDevice device = make(0.005);
  const DeviceMemory memory = device.allocate(4096, "a test").value();
  const auto sent = random_bytes(1000, 1);
  const auto first = device.copy_to_device(sent, memory.span()).value();
  const auto second = device.copy_to_device(sent, memory.span()).value();
  now_ = 100.0059;  // a copy takes 1 ms, and 5 ms more until it is there
  EXPECT_FALSE(first->done().value());
  now_ = 100.0061;
  EXPECT_TRUE(first->done().value());
  EXPECT_FALSE(second->done().value());
  now_ = 100.0071;
  EXPECT_TRUE(second->done().value());
  const auto third = device.copy_to_device(sent, memory.span()).value();
  ASSERT_TRUE(third->wait(1));
  EXPECT_NEAR(now_, 100.0131, 1e-9);
}

TEST_F(SimulatedDeviceTest, NothingArrivesBeforeItIsSeen) {
  SimulatedDevice device = make(0);
  const DeviceMemory memory = device.allocate(1000, "a test").value();
  auto sent = random_bytes(1000, 1);
  const auto event = device.copy_to_device(sent, memory.span()).value();
  EXPECT_FALSE(event->done().value());
  EXPECT_NE(std::to_integer<int>(sent[0]), 0);
  EXPECT_EQ(std::to_integer<int>(memory.data()[0]), 0);
  now_ += 1;
  EXPECT_TRUE(event->done().value());
  EXPECT_TRUE(std::equal(sent.begin(), sent.end(), memory.data()));
}

TEST_F(SimulatedDeviceTest, WaitingHasADeadline) {
  SimulatedDevice device = make(0);
  const DeviceMemory memory = device.allocate(4096, "a test").value();
  const auto sent = random_bytes(4000, 1);
  const auto event = device.copy_to_device(sent, memory.span()).value();
  const Status late = event->wait(0.001);
  ASSERT_FALSE(late);
  EXPECT_EQ(late.error().code, Code::kUnavailable);
  EXPECT_NEAR(now_, 100.001, 1e-9);
  EXPECT_TRUE(event->wait(1));
  EXPECT_NEAR(now_, 100.004, 1e-9);
}

TEST_F(SimulatedDeviceTest, TellsWhatStandsForItInHostMemory) {
  SimulatedDevice device = make(0);
  EXPECT_EQ(device.host_bytes_peak(), 0u);
  DeviceMemory memory = device.allocate(5000, "a test").value();
  EXPECT_EQ(device.host_bytes_peak(), 2 * kPageBytes);
  memory = {};
  memory = device.allocate(100, "less").value();
  EXPECT_EQ(device.host_bytes_peak(), 2 * kPageBytes);
}

TEST(MakeDevice, ReadsWhatIsAskedFor) {
  EXPECT_EQ(make_device("none").value(), nullptr);
  const auto device = make_device("sim:24GiB,16GB/s,10us").value();
  EXPECT_EQ(device->name(), "sim");
  EXPECT_EQ(device->capacity_bytes(), uint64_t{24} << 30);
  EXPECT_EQ(device->link().bytes_per_second, 16e9);
  EXPECT_NEAR(device->link().latency_seconds, 10e-6, 1e-12);
  EXPECT_EQ(device->host_bytes_peak(), 0u);  // nothing was allocated
}

TEST(MakeDevice, RefusesWhatIsNone) {
  for (const char* text :
       {"", "gpu", "sim", "sim:", "sim:1GiB", "sim:1GiB,1GB/s", "sim:1GiB,1GB/s,1ms,2",
        "sim:1GiB,0,1ms", "sim:0,1GB/s,1ms", "sim:1GiB,1GB/s,soon", "sim:,,", "cuda:", "cuda:x",
        "cuda:-1", "cuda:99999999999", "cuda0", "none "}) {
    const auto device = make_device(text);
    ASSERT_FALSE(device) << text;
    EXPECT_EQ(device.error().code, Code::kUsage) << text;
    EXPECT_FALSE(device.error().hint.empty()) << text;
  }
}

TEST(MakeDevice, AGpuThatIsNotThereIsNamed) {
  const auto device = make_device("cuda:4000");
  ASSERT_FALSE(device);
  EXPECT_THAT(to_line(device.error()), HasSubstr("cuda:4000"));
#ifdef SWITCHYARD_CUDA
  EXPECT_EQ(device.error().code, Code::kUnavailable);
#else
  EXPECT_EQ(device.error().code, Code::kConfig);
#endif
}

}  // namespace
}  // namespace switchyard
