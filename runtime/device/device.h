#pragma once

// A place with memory of its own behind a link: the processor's, a simulated one, a GPU.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "runtime/base/result.h"

namespace switchyard {

class Device;

// Bytes of a device, given back with the object, once no copy under way touches them. `data()` is
// the device's address: the processor may follow it only when the device says host_readable().
class DeviceMemory {
 public:
  DeviceMemory() = default;
  // Adopts what `device` allocated.
  DeviceMemory(Device& device, std::span<std::byte> bytes) : device_(&device), bytes_(bytes) {}
  DeviceMemory(DeviceMemory&& other) noexcept
      : device_(std::exchange(other.device_, nullptr)), bytes_(std::exchange(other.bytes_, {})) {}
  DeviceMemory& operator=(DeviceMemory&& other) noexcept {
    std::swap(device_, other.device_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }
  ~DeviceMemory();

  std::byte* data() const { return bytes_.data(); }
  size_t size() const { return bytes_.size(); }
  std::span<std::byte> span() const { return bytes_; }

 private:
  Device* device_ = nullptr;
  std::span<std::byte> bytes_;
};

// The end of one asynchronous copy. May be destroyed before it; the copy goes on.
class CopyEvent {
 public:
  virtual ~CopyEvent() = default;
  // Does not block. kUnavailable: the copy failed, and nothing touches its bytes any more.
  virtual Result<bool> done() = 0;
  // Blocks until done(). kUnavailable too when that takes longer than so many seconds: the copy
  // goes on then.
  virtual Status wait(double timeout_seconds) = 0;
};

// Host memory that a device may copy from without a detour, until the object goes.
class HostPin {
 public:
  virtual ~HostPin() = default;
};

// What a link from host memory to a device gives; 0: as fast as memory.
struct LinkRates {
  double bytes_per_second = 0;
  double latency_seconds = 0;
};

// One thread uses a device; it outlives everything it gave.
class Device {
 public:
  virtual ~Device() = default;

  virtual std::string_view name() const = 0;    // "host", "sim", "cuda:0"
  virtual uint64_t capacity_bytes() const = 0;  // that allocate() gives altogether
  virtual bool host_readable() const = 0;       // the processor can read its memory
  virtual LinkRates link() const = 0;           // from host memory to its own
  // The most host memory that ever stood for its own at once: resident as a whole.
  virtual uint64_t host_bytes_peak() const = 0;

  // kNoMemory. `what` says in the error what the memory was for.
  virtual Result<DeviceMemory> allocate(size_t bytes, const char* what) = 0;
  // `bytes` stay allocated while they are pinned. kNoMemory.
  virtual Result<std::unique_ptr<HostPin>> pin(std::span<std::byte> bytes) = 0;

  // Copy as many bytes as the source has, in the order of the calls; return at once. Nobody may
  // read the target, or write to either side, before the event is done. kUnavailable.
  virtual Result<std::unique_ptr<CopyEvent>> copy_to_device(std::span<const std::byte> host,
                                                            std::span<std::byte> device) = 0;
  virtual Result<std::unique_ptr<CopyEvent>> copy_to_host(std::span<const std::byte> device,
                                                          std::span<std::byte> host) = 0;

 private:
  friend class DeviceMemory;
  virtual void release(std::span<std::byte> bytes) = 0;
};

inline DeviceMemory::~DeviceMemory() {
  if (device_ != nullptr) device_->release(bytes_);
}

// "none" (null), "sim:CAPACITY,RATE,LATENCY" or "cuda[:N]". kUsage; kConfig when this build has no
// CUDA; kUnavailable when there is no such GPU.
Result<std::shared_ptr<Device>> make_device(std::string_view text);

}  // namespace switchyard
