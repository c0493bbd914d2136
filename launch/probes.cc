#include "launch/probes.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "runtime/base/align.h"
#include "runtime/base/clock.h"
#include "runtime/device/worker_pool.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {
namespace {

constexpr uint64_t kProbeBytesMax = uint64_t{1} << 30;
constexpr uint64_t kProbeBytesMin = uint64_t{8} << 20;
constexpr uint32_t kStreamsMax = 8;
constexpr uint64_t kParts = 8;
constexpr uint64_t kUnitBytes = 64 * 840;  // whole lines for every number of streams
constexpr uint64_t kFmaRoundsFirst = 1 << 14;
constexpr double kFmaRunSeconds = 0.01;
constexpr size_t kRoundsMin = 3;

}  // namespace

double median(std::vector<double>& values) {
  const auto middle = values.begin() + static_cast<ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

uint64_t probe_memory_bytes(uint64_t allowance_bytes) {
  return std::clamp(allowance_bytes / 4, kProbeBytesMin, kProbeBytesMax);
}

uint64_t last_cache_bytes() {
  const long bytes = std::max(::sysconf(_SC_LEVEL3_CACHE_SIZE), ::sysconf(_SC_LEVEL2_CACHE_SIZE));
  return bytes > 0 ? static_cast<uint64_t>(bytes) : 0;
}

uint64_t MemoryProbe::bytes_min(uint32_t threads) { return 2 * threads * kParts * kUnitBytes; }

Result<MemoryProbe> MemoryProbe::create(WorkerPool& pool, uint64_t bytes) {
  Slab slab = TRY(Slab::allocate(bytes, "the memory test"));
  // Touched by the threads that read it, each its own share. Not zeros alone: the system may give
  // one shared page for memory only read.
  const uint64_t share = slab.size() / pool.threads();
  pool.run([&](uint32_t thread) {
    const std::span<std::byte> mine = slab.span().subspan(thread * share, share);
    std::fill(mine.begin(), mine.end(), std::byte{1});
  });
  return MemoryProbe(pool, std::move(slab));
}

// Bytes a second over the next part of every thread's share. Part after part, so that none is read
// again before all the others were: the caches keep nothing of it.
double MemoryProbe::read_part(const Kernels& kernels, uint32_t streams) {
  const uint64_t share = slab_.size() / pool_->threads();
  const uint64_t bytes = round_down(share / kParts, kUnitBytes);
  const uint64_t part = next_part_++ % kParts * bytes;
  std::vector<float> sums(pool_->threads() * 16);
  const double begin = now_seconds();
  pool_->run([&](uint32_t thread) {
    const std::byte* mine = slab_.data() + thread * share + part;
    sums[thread * 16] = kernels.read_streams(mine, bytes, streams);
  });
  return static_cast<double>(bytes * pool_->threads()) / (now_seconds() - begin);
}

MemoryProbe::Rate MemoryProbe::measure(const Kernels& kernels, double seconds) {
  std::array<std::vector<double>, kStreamsMax> rates;
  const double end = now_seconds() + seconds;
  for (uint32_t round = 0; round < kRoundsMin || now_seconds() < end; ++round) {
    for (uint32_t i = 0; i < kStreamsMax; ++i) rates[i].push_back(read_part(kernels, i + 1));
  }
  Rate best;
  for (uint32_t i = 0; i < kStreamsMax; ++i) {
    const double rate = median(rates[i]);
    if (rate > best.bytes_per_second) best = {rate, i + 1};
  }
  return best;
}

double measure_fma(WorkerPool& pool, const Kernels& kernels, double seconds) {
  std::vector<float> sinks(pool.threads() * 16);
  std::vector<double> operations(pool.threads());
  std::vector<double> rates;
  uint64_t rounds = kFmaRoundsFirst;
  const double end = now_seconds() + seconds;
  while (rates.size() < kRoundsMin || now_seconds() < end) {
    const double begin = now_seconds();
    pool.run([&](uint32_t thread) {
      operations[thread] = kernels.fma_rounds(rounds, &sinks[thread * 16]);
    });
    const double took = now_seconds() - begin;
    if (took < kFmaRunSeconds) {  // too short against starting the threads
      rounds *= 2;
      continue;
    }
    rates.push_back(std::accumulate(operations.begin(), operations.end(), 0.0) / took);
  }
  return median(rates);
}

}  // namespace switchyard
