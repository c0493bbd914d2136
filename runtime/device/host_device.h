#pragma once

#include "runtime/device/device.h"
#include "runtime/device/host_allocations.h"

namespace switchyard {

// The processor's own memory: copies are done when their call returns.
class HostDevice final : public Device {
 public:
  explicit HostDevice(uint64_t capacity_bytes) : allocations_(capacity_bytes) {}

  std::string_view name() const override { return "host"; }
  uint64_t capacity_bytes() const override { return allocations_.capacity_bytes(); }
  bool host_readable() const override { return true; }
  LinkRates link() const override { return {}; }
  uint64_t host_bytes_peak() const override { return 0; }  // it stands for nothing else

  Result<DeviceMemory> allocate(size_t bytes, const char* what) override;
  Result<std::unique_ptr<HostPin>> pin(std::span<std::byte> bytes) override;
  Result<std::unique_ptr<CopyEvent>> copy_to_device(std::span<const std::byte> host,
                                                    std::span<std::byte> device) override;
  Result<std::unique_ptr<CopyEvent>> copy_to_host(std::span<const std::byte> device,
                                                  std::span<std::byte> host) override;

 private:
  void release(std::span<std::byte> bytes) override;

  HostAllocations allocations_;
};

}  // namespace switchyard
