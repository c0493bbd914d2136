#include "runtime/device/host_device.h"

#include <cstring>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

class DoneEvent final : public CopyEvent {
 public:
  Result<bool> done() override { return true; }
  Status wait(double /*timeout_seconds*/) override { return {}; }
};

std::unique_ptr<CopyEvent> copy(std::span<const std::byte> from, std::span<std::byte> to) {
  CHECK_THAT(from.size() <= to.size(), "{} of {}", from.size(), to.size());
  std::memcpy(to.data(), from.data(), from.size());
  return std::make_unique<DoneEvent>();
}

}  // namespace

Result<DeviceMemory> HostDevice::allocate(size_t bytes, const char* what) {
  return DeviceMemory(*this, TRY(allocations_.allocate(name(), bytes, what)));
}

void HostDevice::release(std::span<std::byte> bytes) { allocations_.release(bytes); }

Result<std::unique_ptr<HostPin>> HostDevice::pin(std::span<std::byte> /*bytes*/) {
  return std::make_unique<HostPin>();
}

Result<std::unique_ptr<CopyEvent>> HostDevice::copy_to_device(std::span<const std::byte> host,
                                                              std::span<std::byte> device) {
  return copy(host, device);
}

Result<std::unique_ptr<CopyEvent>> HostDevice::copy_to_host(std::span<const std::byte> device,
                                                            std::span<std::byte> host) {
  return copy(device, host);
}

}  // namespace switchyard
