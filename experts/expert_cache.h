#pragma once

// Experts in a fixed number of slots, read on demand. One thread uses a cache; the drive works
// beside it.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experts/device_tier.h"
#include "experts/expert_lease.h"
#include "experts/policies/registry.h"
#include "experts/prefetcher.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

class ExpertSource;
class ReadQueue;
class Spans;

struct ExpertCacheOptions {
  uint32_t slots = 0;
  uint32_t staging = 0;  // experts on their way at once, when the source is not direct
  uint32_t read_chunk_bytes = 1 << 20;  // of one read at most; a multiple of kPageBytes
  uint32_t queue_depth = 64;            // reads in flight at most
  bool buffered = false;                // reads go through the page cache
  std::string policy = std::string(kPolicyDefault);
  const FutureUses* future = nullptr;    // for policies that need it; outlives the cache
  uint64_t prefetch_bytes_per_step = 0;  // what speculation may read in a step; 0: nothing
  double drive_bytes_per_second = 0;     // what is known of the drive at first; fill() measures it
  // Makes the queue over the cache's slab; empty: open_read_queue(). Tests put a faulty one here.
  std::function<std::unique_ptr<ReadQueue>(std::span<std::byte> slab)> make_queue = {};
  // Puts a faulty or slower drive before the real one; empty: nothing.
  std::function<std::unique_ptr<ReadQueue>(std::unique_ptr<ReadQueue>)> wrap_queue = {};
  std::function<double()> now_seconds = {};              // empty: the steady clock
  std::function<void(uint64_t bytes)> on_checksum = {};  // ExpertLoader
  // Where experts lie above the slots; the processor can read its memory, and it outlives the
  // cache. Null: nowhere.
  Device* device = nullptr;
  double memory_bytes_per_second = 0;  // the host's, to weigh copies against; 0: an assumption
  Spans* spans = nullptr;              // records reads, copies and waits; outlives the cache
};

struct LayerUses {
  uint64_t hits = 0;
  uint64_t misses = 0;
};

// The tracks of what is recorded; reads take those behind.
inline constexpr uint32_t kTrackAttention = 0, kTrackExperts = 1, kTrackWait = 2, kTrackCopies = 3,
                          kTrackReads = 4;

struct ExpertCacheCounters {
  uint64_t hits = 0;        // resident when requested, on the device or prefetched too
  uint64_t misses = 0;      // not, prefetched ones that were late too
  uint64_t bytes_read = 0;  // of experts that landed
  uint64_t retries = 0;     // loads begun again after a failure
  // From next() or lend() having nothing to give until there was something: reads and copies that
  // were waited for, and handling those that ended meanwhile (checksums, further reads).
  double stall_seconds = 0;
  PrefetchCounters prefetch;
  DeviceTierCounters device;
  std::vector<LayerUses> layers;  // [the model's layers], as far as there were requests
};

// How a request treats what is resident: a sweep reads its misses through a few slots and leaves
// the rest as it is.
inline constexpr uint32_t kSweepSlots = 8;  // on their way or being computed
enum class CachePath : uint8_t { kKeep, kSweep };

class ExpertCache {
 public:
  // kNoMemory, or kUsage for an unknown policy (the names there are in the hint). `source` outlives
  // the cache.
  static Result<std::unique_ptr<ExpertCache>> create(const ExpertSource& source,
                                                     const ExpertCacheOptions& options);
  ~ExpertCache();  // no lease may be alive

  // Bytes of slab that `slots` and `staging` take.
  static uint64_t slab_bytes(const ExpertSource& source, uint32_t slots, uint32_t staging);
  uint32_t slots() const;         // of the host, but for those that are lent
  uint32_t device_slots() const;  // above them

  // Fills the slots in the source's order as far as they reach. Blocks. Counts neither hits nor
  // misses.
  Status fill(const std::function<void(uint64_t bytes_done, uint64_t bytes_all)>& progress);

  // Starts a layer's work: `experts` (distinct, in any order) of `layer`. Resident ones are leased
  // at once, those on the device before the host's (unless copying one there first is quicker), the
  // others' reads submitted as far as slots reach. The last request must be over.
  void request(uint16_t layer, std::span<const uint16_t> experts,
               CachePath path = CachePath::kKeep);
  // Leases on experts of the request that are ready, each once: first all that were resident, then
  // those whose reads have landed; blocks only while there is none. Empty when all were given: the
  // request is over. Give the leases back before the next call when slots are scarcer than experts:
  // the call starts as many further reads as slots are free. A load that fails is begun again once;
  // then its error, naming layer and expert, ends the request; slots stay usable and the next
  // request is served.
  Result<std::vector<ExpertLease>> next();

  // What is foreseen of the step that begins, for the policy.
  void foresee(std::span<const ForeseenUse> uses);
  // Experts that may be wanted in layers to come: those that are resident are evicted last until
  // then, reads of the others are started where that is worth it, after those of the request. Those
  // of the request's own layer are passed over.
  void prefetch(std::span<const PrefetchJob> jobs);
  // Whether an expert is in memory or on its way there, on the device too.
  bool present(ExpertKey key) const;
  // Keeps the drive busy; call it now and then while computing. Does not block.
  void pump();

  // A slot's memory, for something that is no expert, until it is taken back: empties one and, if
  // it must, waits for reads and copies that nobody asked for. Between requests. The caller leaves
  // slots for a layer's work. kIo when the drive gives nothing back.
  Result<std::span<std::byte>> lend();
  void take_back(std::span<std::byte> slot);

  ExpertCacheCounters counters() const;
  void reset_counters();
  const std::string& queue_name() const;  // "io_uring" or what stands in for it
  const std::string& warning() const;     // one line; may be empty

 private:
  class Impl;
  explicit ExpertCache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace switchyard
