#include "runtime/device/simulated_device.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/units.h"

namespace switchyard {

class SimulatedDevice::Event final : public CopyEvent {
 public:
  Event(SimulatedDevice& device, std::shared_ptr<Copy> copy)
      : device_(device), copy_(std::move(copy)) {}

  Result<bool> done() override {
    device_.arrive();
    return copy_->arrived;
  }

  Status wait(double timeout_seconds) override {
    device_.wait_until(*copy_, device_.link_.now_seconds() + timeout_seconds);
    if (copy_->arrived) return {};
    return fail(Code::kUnavailable,
                fmt::format("a copy was not done after {}", format_seconds(timeout_seconds)),
                std::string(device_.name()));
  }

 private:
  SimulatedDevice& device_;
  const std::shared_ptr<Copy> copy_;
};

SimulatedDevice::SimulatedDevice(uint64_t capacity_bytes, SimulatedLink link)
    : link_(std::move(link)), allocations_(capacity_bytes) {
  CHECK(link_.bytes_per_second > 0 && link_.latency_seconds >= 0);
  if (!link_.now_seconds) link_.now_seconds = now_seconds;
  if (!link_.sleep_until) link_.sleep_until = sleep_until_seconds;
}

Result<DeviceMemory> SimulatedDevice::allocate(size_t bytes, const char* what) {
  return DeviceMemory(*this, TRY(allocations_.allocate(name(), bytes, what)));
}

Result<std::unique_ptr<HostPin>> SimulatedDevice::pin(std::span<std::byte> /*bytes*/) {
  return std::make_unique<HostPin>();
}

Result<std::unique_ptr<CopyEvent>> SimulatedDevice::copy_to_device(std::span<const std::byte> host,
                                                                   std::span<std::byte> device) {
  return copy(host, device);
}

Result<std::unique_ptr<CopyEvent>> SimulatedDevice::copy_to_host(std::span<const std::byte> device,
                                                                 std::span<std::byte> host) {
  return copy(device, host);
}

std::unique_ptr<CopyEvent> SimulatedDevice::copy(std::span<const std::byte> from,
                                                 std::span<std::byte> to) {
  CHECK_THAT(from.size() <= to.size(), "{} of {}", from.size(), to.size());
  free_at_ = std::max(free_at_, link_.now_seconds()) +
             static_cast<double>(from.size()) / link_.bytes_per_second;
  under_way_.push_back(
      std::make_shared<Copy>(Copy{from, to, free_at_ + link_.latency_seconds, false}));
  return std::make_unique<Event>(*this, under_way_.back());
}

// Copies whose time has come.
void SimulatedDevice::arrive() {
  const double now = link_.now_seconds();
  while (!under_way_.empty() && under_way_.front()->done_at <= now) {
    Copy& copy = *under_way_.front();
    std::memcpy(copy.to.data(), copy.from.data(), copy.from.size());
    copy.arrived = true;
    under_way_.pop_front();
  }
}

// Until `copy` has arrived, or as late as `seconds`.
void SimulatedDevice::wait_until(const Copy& copy, double seconds) {
  arrive();
  while (!copy.arrived && link_.now_seconds() < seconds) {
    link_.sleep_until(std::min(copy.done_at, seconds));
    arrive();
  }
}

void SimulatedDevice::release(std::span<std::byte> bytes) {
  const auto touches = [&](const std::shared_ptr<Copy>& copy) {
    const auto inside = [&](const std::byte* data) {
      return data >= bytes.data() && data < bytes.data() + bytes.size();
    };
    return inside(copy->from.data()) || inside(copy->to.data());
  };
  while (std::ranges::any_of(under_way_, touches)) {
    link_.sleep_until(under_way_.front()->done_at);
    arrive();
  }
  allocations_.release(bytes);
}

}  // namespace switchyard
