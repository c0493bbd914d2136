#pragma once

// Short tests of what this machine gives: the bounds beside every measurement. All block.

#include <cstdint>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "runtime/device/slab.h"

namespace switchyard {

struct Kernels;
class WorkerPool;

// The upper one of an even number; the values change places. At least one.
double median(std::vector<double>& values);

// Reads memory as fast as the threads of a pool can. Holds its slab, so that a measurement can be
// repeated beside what is compared with it.
class MemoryProbe {
 public:
  // Takes up to `bytes` (well above the caches to be of use). kNoMemory.
  static Result<MemoryProbe> create(WorkerPool& pool, uint64_t bytes);

  struct Rate {
    double bytes_per_second = 0;
    uint32_t streams = 0;  // a thread, the best of 1 … 8
  };
  // Each number of streams is tried in turn until `seconds` are over, at least three times; its
  // rate is the median, so that what else the machine does slows test and tested alike.
  Rate measure(const Kernels& kernels, double seconds);
  uint64_t bytes() const { return slab_.size(); }
  // The least for so many threads that gives a rate at all.
  static uint64_t bytes_min(uint32_t threads);

 private:
  MemoryProbe(WorkerPool& pool, Slab slab) : pool_(&pool), slab_(std::move(slab)) {}
  double read_part(const Kernels& kernels, uint32_t streams);

  WorkerPool* pool_;
  Slab slab_;
  uint64_t next_part_ = 0;
};

// What a memory test may take where `allowance_bytes` are free: 1 GiB, less on small machines.
uint64_t probe_memory_bytes(uint64_t allowance_bytes);

// Of the largest cache; 0 when the system does not tell.
uint64_t last_cache_bytes();

// fp32 operations a second of all threads of the pool: the median of short runs.
double measure_fma(WorkerPool& pool, const Kernels& kernels, double seconds);

struct DriveRate {
  double bytes_per_second = 0;
  double burst_per_second = 0;  // for a moment after a pause; at least the other
  double latency_seconds = 0;   // of one page by itself
  uint64_t bytes = 0;           // read
  uint64_t block_bytes = 0;     // at once
  std::string queue;            // "io_uring, registered" …
  std::string warning;          // why reads are slower than they could be, or empty
  bool direct = false;          // past the page cache
  std::string direct_refusal;   // why not, or empty
};

inline constexpr uint32_t kDriveProbeDepth = 32;
inline constexpr double kDriveProbeSeconds = 1.0;                     // beside other measurements
inline constexpr uint64_t kDriveProbeBlockBytes = uint64_t{1} << 20;  // less in small files

// Reads blocks of a file in random order for `seconds` at most. Errors of opening and reading;
// kBadData when the file is too small to tell.
Result<DriveRate> measure_drive_file(const std::string& file, double seconds,
                                     uint32_t depth = kDriveProbeDepth);

// The same on a temporary file that it writes into `folder` and removes. kIo, kPermission.
Result<DriveRate> measure_drive_folder(const std::string& folder, double seconds);

// On `path` itself when it is a file, on the largest file of a folder when that is large enough,
// else on a temporary file there.
Result<DriveRate> measure_drive(const std::string& path, double seconds);

}  // namespace switchyard
