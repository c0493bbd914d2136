#pragma once

#include <deque>
#include <functional>
#include <memory>

#include "runtime/device/device.h"
#include "runtime/device/host_allocations.h"

namespace switchyard {

// A link that carries one copy after the other, each at `bytes_per_second`, and has it there
// `latency_seconds` later; and the clock it goes by.
struct SimulatedLink {
  double bytes_per_second = 0;  // above 0
  double latency_seconds = 0;
  std::function<double()> now_seconds = {};              // empty: the steady clock
  std::function<void(double seconds)> sleep_until = {};  // likewise
};

// Host memory behind a link. Bytes arrive when somebody sees that they have: who reads too early
// or gives a source up too early gets wrong ones.
class SimulatedDevice final : public Device {
 public:
  SimulatedDevice(uint64_t capacity_bytes, SimulatedLink link);

  std::string_view name() const override { return "sim"; }
  uint64_t capacity_bytes() const override { return allocations_.capacity_bytes(); }
  bool host_readable() const override { return true; }
  LinkRates link() const override { return {link_.bytes_per_second, link_.latency_seconds}; }
  uint64_t host_bytes_peak() const override { return allocations_.bytes_peak(); }

  Result<DeviceMemory> allocate(size_t bytes, const char* what) override;
  Result<std::unique_ptr<HostPin>> pin(std::span<std::byte> bytes) override;
  Result<std::unique_ptr<CopyEvent>> copy_to_device(std::span<const std::byte> host,
                                                    std::span<std::byte> device) override;
  Result<std::unique_ptr<CopyEvent>> copy_to_host(std::span<const std::byte> device,
                                                  std::span<std::byte> host) override;

 private:
  struct Copy {
    std::span<const std::byte> from;
    std::span<std::byte> to;
    double done_at = 0;
    bool arrived = false;
  };
  class Event;
  std::unique_ptr<CopyEvent> copy(std::span<const std::byte> from, std::span<std::byte> to);
  void arrive();
  void wait_until(const Copy& copy, double seconds);
  void release(std::span<std::byte> bytes) override;

  SimulatedLink link_;
  HostAllocations allocations_;
  double free_at_ = 0;                           // the link has carried all that was given to it
  std::deque<std::shared_ptr<Copy>> under_way_;  // in the order of done_at
};

}  // namespace switchyard
