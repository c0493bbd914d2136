#include "runtime/device/cuda_device.h"

#include <cuda_runtime_api.h>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <thread>

#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "runtime/base/units.h"

namespace switchyard {
namespace {

constexpr uint64_t kLeftFree = uint64_t{256} << 20;  // of the GPU's memory, for its driver
constexpr size_t kProbeBytes = size_t{16} << 20;
constexpr std::chrono::microseconds kPoll{20};

// The error says what CUDA says. Its state is cleared, so that it is not met again.
tl::unexpected<Error> cuda_error(cudaError_t error, const std::string& what,
                                 std::string_view device) {
  (void)cudaGetLastError();
  const bool memory = error == cudaErrorMemoryAllocation;
  return fail(memory ? Code::kNoMemory : Code::kUnavailable,
              fmt::format("{}: {}", what, cudaGetErrorString(error)), std::string(device),
              memory ? "" : "see switchyard doctor");
}

class CudaEvent final : public CopyEvent {
 public:
  CudaEvent(std::string_view device, cudaEvent_t event) : device_(device), event_(event) {}
  ~CudaEvent() override { (void)cudaEventDestroy(event_); }
  CudaEvent(const CudaEvent&) = delete;

  cudaEvent_t handle() const { return event_; }

  Result<bool> done() override {
    const cudaError_t error = cudaEventQuery(event_);
    if (error == cudaErrorNotReady) return false;
    if (error != cudaSuccess) return cuda_error(error, "a copy failed", device_);
    return true;
  }

  Status wait(double timeout_seconds) override {
    const double end = now_seconds() + timeout_seconds;
    while (!TRY(done())) {
      if (now_seconds() >= end) {
        return fail(Code::kUnavailable,
                    fmt::format("a copy was not done after {}", format_seconds(timeout_seconds)),
                    std::string(device_));
      }
      std::this_thread::sleep_for(kPoll);
    }
    return {};
  }

 private:
  const std::string device_;
  const cudaEvent_t event_;
};

class CudaPin final : public HostPin {
 public:
  explicit CudaPin(void* data) : data_(data) {}
  ~CudaPin() override { (void)cudaHostUnregister(data_); }
  CudaPin(const CudaPin&) = delete;

 private:
  void* const data_;
};

class CudaDevice final : public Device {
 public:
  explicit CudaDevice(uint32_t number) : number_(number), name_(fmt::format("cuda:{}", number)) {}
  ~CudaDevice() override {
    if (stream_ != nullptr) (void)cudaStreamDestroy(stream_);
  }

  Status open();

  std::string_view name() const override { return name_; }
  uint64_t capacity_bytes() const override { return capacity_bytes_; }
  bool host_readable() const override { return false; }
  LinkRates link() const override { return link_; }
  uint64_t host_bytes_peak() const override { return 0; }

  Result<DeviceMemory> allocate(size_t bytes, const char* what) override;
  Result<std::unique_ptr<HostPin>> pin(std::span<std::byte> bytes) override;
  Result<std::unique_ptr<CopyEvent>> copy_to_device(std::span<const std::byte> host,
                                                    std::span<std::byte> device) override {
    return copy(host, device, cudaMemcpyHostToDevice);
  }
  Result<std::unique_ptr<CopyEvent>> copy_to_host(std::span<const std::byte> device,
                                                  std::span<std::byte> host) override {
    return copy(device, host, cudaMemcpyDeviceToHost);
  }

 private:
  Status check(cudaError_t error, const std::string& what) const {
    if (error == cudaSuccess) return {};
    return cuda_error(error, what, name_);
  }
  Result<std::unique_ptr<CopyEvent>> copy(std::span<const std::byte> from, std::span<std::byte> to,
                                          cudaMemcpyKind kind);
  Result<double> copy_seconds(std::span<const std::byte> from, std::span<std::byte> to);
  Status measure_link();
  void release(std::span<std::byte> bytes) override;

  const uint32_t number_;
  const std::string name_;
  uint64_t capacity_bytes_ = 0;
  cudaStream_t stream_ = nullptr;
  LinkRates link_;
};

Status CudaDevice::open() {
  int count = 0;
  TRY_STATUS(check(cudaGetDeviceCount(&count), "cannot count GPUs"));
  if (number_ >= static_cast<uint32_t>(count)) {
    return fail(Code::kUnavailable, fmt::format("there are {} GPUs", count), name_,
                "count from 0; see switchyard doctor");
  }
  TRY_STATUS(check(cudaSetDevice(static_cast<int>(number_)), "cannot use the GPU"));
  size_t free_bytes = 0, all_bytes = 0;
  TRY_STATUS(check(cudaMemGetInfo(&free_bytes, &all_bytes), "cannot ask for its memory"));
  capacity_bytes_ = free_bytes - std::min<uint64_t>(free_bytes, kLeftFree);
  TRY_STATUS(
      check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cannot make a stream"));
  return measure_link();
}

Result<DeviceMemory> CudaDevice::allocate(size_t bytes, const char* what) {
  CHECK(bytes > 0);
  void* data = nullptr;
  TRY_STATUS(check(cudaMalloc(&data, bytes),
                   fmt::format("no room for {} ({})", what, format_size(bytes))));
  return DeviceMemory(*this, {static_cast<std::byte*>(data), bytes});
}

void CudaDevice::release(std::span<std::byte> bytes) {
  // After the copies that touch it; cudaFree itself says nothing of streams that do not block.
  (void)cudaStreamSynchronize(stream_);
  (void)cudaFree(bytes.data());
}

Result<std::unique_ptr<HostPin>> CudaDevice::pin(std::span<std::byte> bytes) {
  TRY_STATUS(check(cudaHostRegister(bytes.data(), bytes.size(), cudaHostRegisterDefault),
                   fmt::format("cannot pin {} of host memory", format_size(bytes.size()))));
  return std::make_unique<CudaPin>(bytes.data());
}

Result<std::unique_ptr<CopyEvent>> CudaDevice::copy(std::span<const std::byte> from,
                                                    std::span<std::byte> to, cudaMemcpyKind kind) {
  CHECK_THAT(from.size() <= to.size(), "{} of {}", from.size(), to.size());
  cudaEvent_t raw = nullptr;
  TRY_STATUS(check(cudaEventCreateWithFlags(&raw, cudaEventDisableTiming), "cannot make an event"));
  auto event = std::make_unique<CudaEvent>(name_, raw);
  TRY_STATUS(check(cudaMemcpyAsync(to.data(), from.data(), from.size(), kind, stream_),
                   "cannot start a copy"));
  TRY_STATUS(check(cudaEventRecord(event->handle(), stream_), "cannot record an event"));
  return event;
}

Result<double> CudaDevice::copy_seconds(std::span<const std::byte> from, std::span<std::byte> to) {
  const double begin = now_seconds();
  const auto event = TRY(copy_to_device(from, to));
  TRY_STATUS(check(cudaStreamSynchronize(stream_), "a copy failed"));
  return now_seconds() - begin;
}

// From pinned memory: the time of a page, and what more bytes take beside it. The second copies
// count: the first ones wake the link.
Status CudaDevice::measure_link() {
  const DeviceMemory memory = TRY(allocate(kProbeBytes, "the link's test"));
  void* data = nullptr;
  TRY_STATUS(check(cudaMallocHost(&data, kProbeBytes), "cannot pin the link's test"));
  const std::unique_ptr<void, cudaError_t (*)(void*)> pinned(data, cudaFreeHost);
  const std::span<std::byte> host{static_cast<std::byte*>(data), kProbeBytes};
  double page_seconds = 0, all_seconds = 0;
  for (int round = 0; round < 2; ++round) {
    page_seconds = TRY(copy_seconds(host.first(4096), memory.span()));
    all_seconds = TRY(copy_seconds(host, memory.span()));
  }
  const double bytes_seconds = std::max(all_seconds - page_seconds, 1e-6);
  link_ = {static_cast<double>(kProbeBytes) / bytes_seconds, page_seconds};
  return {};
}

}  // namespace

Result<std::shared_ptr<Device>> open_cuda_device(uint32_t number) {
  auto device = std::make_shared<CudaDevice>(number);
  TRY_STATUS(device->open());
  return device;
}

}  // namespace switchyard
