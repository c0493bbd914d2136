#pragma once

// Slots in a device's memory: the tier above the host's slots.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "experts/key_index.h"
#include "experts/policies/registry.h"
#include "experts/slot_pool.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"
#include "runtime/device/device.h"

namespace switchyard {

class ExpertSource;
class Spans;

// What an expert costs where it may lie, in seconds. Computing on the device counts as nothing.
struct DeviceCosts {
  double copy_seconds = 0;     // over the link, by itself
  double compute_seconds = 0;  // from host memory
  double read_seconds = 0;     // from the drive

  // The expert is wanted now, and copies of so many seconds go before it.
  bool copy_first(double seconds_ahead) const {
    return seconds_ahead + copy_seconds < compute_seconds;
  }
  // So many uses are to come; without a copy, `read_share` of them would find it on the drive.
  bool copy_pays(double uses, double read_share) const {
    return uses * (compute_seconds + read_share * read_seconds) > copy_seconds;
  }
};

struct DeviceTierOptions {
  std::string policy = std::string(kPolicyDefault);
  const FutureUses* future = nullptr;  // for policies that need it; outlives the tier
  double memory_bytes_per_second = 0;  // of the host; 0: an assumption
  double drive_bytes_per_second = 0;   // 0: not known
  Spans* spans = nullptr;              // records copies on `track`; outlives the tier
  uint32_t track = 0;
};

struct DeviceTierCounters {
  uint64_t hits = 0;    // experts that were there when requested
  uint64_t copies = 0;  // that arrived
  uint64_t copied_bytes = 0;
  uint64_t copies_failed = 0;  // the experts were computed from their host slots

  void add(const DeviceTierCounters& other) {
    hits += other.hits;
    copies += other.copies;
    copied_bytes += other.copied_bytes;
    copies_failed += other.copies_failed;
  }
};

// A leased slot, in host memory or on the device.
struct LeasedSlot {
  SlotPool* pool = nullptr;
  SlotIndex slot;
};

// Whatever it holds also lies on the drive: eviction costs nothing. One thread.
class DeviceTier {
 public:
  // As many slots as `device` has room for and there are experts. `device` and `host` (whose slots
  // `slab` holds) outlive the tier. kNoMemory, also when not one expert fits; kUsage as
  // make_policy().
  static Result<std::unique_ptr<DeviceTier>> create(Device& device, const ExpertSource& source,
                                                    SlotPool& host, std::span<std::byte> slab,
                                                    const DeviceTierOptions& options);
  // Waits for the copies under way.
  ~DeviceTier();

  SlotPool& pool() { return pool_; }
  uint32_t slots() const { return pool_.size(); }
  const std::string& warning() const { return warning_; }  // may be empty
  bool holds(ExpertKey key) const { return pool_.find(key).has_value(); }

  void begin_layer(uint16_t layer);
  void foresee(std::span<const ForeseenUse> uses) { pool_.foresee(uses); }
  void expect(ExpertKey key) { pool_.expect(key); }
  // The router chose `key`. Leased when the device has it.
  std::optional<LeasedSlot> use(ExpertKey key);
  // It has it not: was it in a host slot?
  void used_below(bool resident);
  // So many bytes a second were read from the drive.
  void observe_drive(double bytes_per_second);

  // The expert in the host's `slot` is wanted now. When that is quicker than computing it there,
  // starts copying it and take_fetched() will have it.
  bool fetch(SlotIndex slot);
  bool fetching() const { return fetching_ > 0; }
  // Those whose copies have ended, leased: on the device, or in the host's slot when that failed.
  std::vector<LeasedSlot> take_fetched();
  // Nobody waits for what is being fetched any more.
  void drop_fetched();
  // The expert in the host's `slot` was used. Starts copying it when that pays.
  void offer(SlotIndex slot);

  // A host slot stays leased for as long as it is copied from.
  bool copying() const { return !copies_.empty(); }
  // Takes in the copies that have ended. Does not block.
  void poll();
  // poll() after blocking for the oldest copy. kUnavailable when it does not end in time, naming
  // layer and expert: it stays under way.
  Status wait();

  const DeviceTierCounters& counters() const { return counters_; }
  void reset_counters() { counters_ = {}; }

 private:
  struct Copy {
    ExpertKey key;
    SlotIndex from, to;
    double began = 0;
    bool fetched = false;
    std::unique_ptr<CopyEvent> event;
  };
  struct RecentUses {
    double count = 0;  // older ones count less
    uint64_t step = 0;
  };

  DeviceTier(Device& device, const ExpertSource& source, SlotPool& host, DeviceMemory memory,
             std::unique_ptr<EvictionPolicy> policy, const DeviceTierOptions& options);
  bool start(SlotIndex from, bool fetched);
  void end(Copy& copy, bool arrived);
  double uses_to_come(ExpertKey key) const;

  Device& device_;
  SlotPool& host_;
  const uint64_t expert_bytes_;
  const uint32_t copies_max_;  // that nobody waits for
  Spans* const spans_;
  const uint32_t track_;
  std::string warning_;
  std::unique_ptr<HostPin> pin_;
  DeviceMemory memory_;
  SlotPool pool_;
  DeviceCosts costs_;
  KeyIndex index_;
  std::vector<RecentUses> uses_;  // [places]
  uint64_t step_ = 0;
  uint16_t layer_ = 0;
  double read_share_ = 0;     // of the uses that the device does not serve
  std::vector<Copy> copies_;  // in the order of start()
  uint32_t fetching_ = 0;     // of copies_ and fetched_
  std::vector<LeasedSlot> fetched_;
  DeviceTierCounters counters_;
};

}  // namespace switchyard
