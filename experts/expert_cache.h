#pragma once

// Experts in a fixed number of slots, read on demand. One thread uses a cache; the drive works
// beside it.

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "experts/expert_layout.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

class ExpertSource;
class ReadQueue;
class SlotPool;

struct ExpertCacheOptions {
  uint32_t slots = 0;
  uint32_t staging = 0;  // experts on their way at once, when the source is not direct
  uint32_t read_chunk_bytes = 1 << 20;  // of one read at most; a multiple of kPageBytes
  uint32_t queue_depth = 64;            // reads in flight at most
  std::string policy = "lru";
  // Makes the queue over the cache's slab; empty: open_read_queue(). Tests put a faulty one here.
  std::function<std::unique_ptr<ReadQueue>(std::span<std::byte> slab)> make_queue = {};
};

struct ExpertCacheCounters {
  uint64_t hits = 0;
  uint64_t misses = 0;
  uint64_t bytes_read = 0;
  double wait_seconds = 0;  // next() had nothing ready
};

// The right to read one expert's slot; while it lives the slot is not evicted. Move-only.
class ExpertLease {
 public:
  ExpertLease(ExpertLease&&) noexcept;
  ExpertLease& operator=(ExpertLease&&) noexcept;
  ~ExpertLease();
  ExpertKey key() const { return key_; }
  const ExpertView& view() const { return view_; }

 private:
  friend class ExpertCache;
  ExpertLease(SlotPool& pool, SlotIndex slot, ExpertKey key, const ExpertView& view);

  SlotPool* pool_;  // null once moved from
  SlotIndex slot_;
  ExpertKey key_;
  ExpertView view_;
};

class ExpertCache {
 public:
  // kNoMemory, or kUsage for an unknown policy (the names there are in the hint). `source` outlives
  // the cache.
  static Result<std::unique_ptr<ExpertCache>> create(const ExpertSource& source,
                                                     const ExpertCacheOptions& options);
  ~ExpertCache();  // no lease may be alive

  // Bytes of slab that `slots` and `staging` take.
  static uint64_t slab_bytes(const ExpertSource& source, uint32_t slots, uint32_t staging);

  // Fills the slots in the source's order as far as they reach. Blocks. Counts neither hits nor
  // misses.
  Status fill(const std::function<void(uint64_t bytes_done, uint64_t bytes_all)>& progress);

  // Starts a layer's work: `experts` (distinct, ascending in any order the caller likes) of
  // `layer`. Resident ones are leased at once, the others' reads submitted as far as slots reach.
  // The last request must be over.
  void request(uint16_t layer, std::span<const uint16_t> experts);
  // Leases on experts of the request that are ready, each once: first all that were resident, then
  // those whose reads have landed; blocks only while there is none. Empty when all were given. Give
  // the leases back before the next call when slots are scarcer than experts: the call starts as
  // many further reads as slots are free. Errors name layer and expert and end the request; slots
  // stay usable and the next request is served.
  Result<std::vector<ExpertLease>> next();

  const ExpertCacheCounters& counters() const;
  void reset_counters();
  const std::string& queue_name() const;  // "io_uring" or what stands in for it
  const std::string& warning() const;     // one line; may be empty

 private:
  class Impl;
  explicit ExpertCache(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace switchyard
