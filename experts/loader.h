#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "experts/expert_source.h"
#include "runtime/base/hash.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"
#include "storage/read_queue.h"

namespace switchyard {

class Spans;

enum class Urgency : uint8_t { kDemand, kSpeculative };

// How a load ended. Nothing writes to the slot or reads from it any more.
struct LoadEnd {
  ExpertKey key;
  SlotIndex slot;
  uint64_t bytes = 0;  // the expert's own
  Urgency urgency = Urgency::kDemand;
  bool abandoned = false;  // nobody wants it: the slot holds nothing
  Status status{};         // of reading and finish()ing, naming layer and expert
  bool verified = true;    // by finish(); false: verify() is to be called before it is used
};

// Turns experts into page-aligned chunks of reads, as many at once as the queue takes, and into
// kernel-ready slots. Demand goes first, in the order of start(); speculation when next to nothing
// else is in flight, a few chunks at a time; no checksum is taken of what may never be wanted.
// Retries nothing. One thread.
class ExpertLoader {
 public:
  static constexpr uint32_t kSpeculativeReads = 2;  // speculation goes while fewer are in flight

  // `staging` is [loads, source.staging_bytes()] for a source that is not direct, inside the
  // queue's slab and outliving the loader, like `source`. At most `loads` experts are on their way.
  ExpertLoader(const ExpertSource& source, std::unique_ptr<ReadQueue> queue,
               std::span<std::byte> staging, uint32_t loads, uint32_t chunk_bytes);

  // Records every load, each place of a load a track from `track` on. `spans` outlives the loader.
  void record(Spans& spans, uint32_t track);
  // Calls this whenever a checksum was taken of so many bytes: simulations let time go by there.
  void on_checksum(std::function<void(uint64_t bytes)> taken) {
    checksum_taken_ = std::move(taken);
  }

  // Speculation leaves half of the room to demand.
  bool has_room(Urgency urgency = Urgency::kDemand) const;
  // Starts reading `key` into `memory`; the reads begin with the next pump(). Needs room.
  void start(ExpertKey key, SlotIndex slot, std::span<std::byte> memory,
             Urgency urgency = Urgency::kDemand);
  // The speculative load of `slot` has become demand. Returns the bytes already handed on.
  uint64_t promote(SlotIndex slot);
  // Every chunk of the load of `slot` was handed on.
  bool handed_on(SlotIndex slot) const { return loads_[load_of(slot)].all_offered(); }
  // A load of `slot` is on its way, demanded and not abandoned.
  bool demanded(SlotIndex slot) const;
  // Nobody wants the load of `slot`: what was not handed on is dropped; it ends as abandoned.
  // Returns the bytes that had been handed on.
  uint64_t cancel(SlotIndex slot);

  // Takes in the reads that are done and hands on further ones. Does not block. Errors are the
  // queue's, with the expert that is on its way for the longest: everything stays as it is and may
  // be tried again.
  Status pump();
  // Blocks for a read to be done, which the next pump() takes in. Needs reads in flight.
  Status wait();
  bool reading() const { return queue_->in_flight() > 0; }

  // Makes kernel-ready an expert whose reads are all done, if there is one. Does not block, but
  // works at the speed of memory.
  std::optional<LoadEnd> take();
  // What take() left unverified, read to `memory`: ExpertSource::finish(), at the speed of memory.
  Status verify(ExpertKey key, std::span<std::byte> memory);

 private:
  struct Load {
    uint64_t number = 0;  // in the order of start()
    double began = 0;     // seconds, when it is recorded
    ExpertKey key;
    SlotIndex slot;
    std::span<std::byte> memory;  // the slot
    std::span<std::byte> target;  // of the reads: the slot or a staging area
    std::vector<ExpertPiece> pieces;
    size_t piece = 0;        // the first one not wholly offered …
    uint64_t piece_at = 0;   // … its bytes in pages offered so far …
    uint64_t target_at = 0;  // … and where the next ones go
    uint32_t reads_in_flight = 0;
    uint32_t chunks_offered = 0;
    std::vector<uint32_t> landed = {};  // [chunks] bytes, when the source is direct; 0: not yet …
    uint32_t chunks_hashed = 0;         // … of which so many, in order, …
    uint64_t bytes_hashed = 0;          // … and bytes are in …
    Hasher hasher = {};                 // … this
    Urgency urgency = Urgency::kDemand;
    bool abandoned = false;
    Status status{};
    bool all_offered() const { return piece == pieces.size(); }
  };
  void top_up(std::vector<uint32_t>& to_offer, size_t in_flight_max);
  std::vector<uint32_t>& to_offer(Urgency urgency);
  uint32_t load_of(SlotIndex slot) const;
  void prepare(Load& load, ReadOp& op) const;
  void take_in(std::span<ReadOp* const> done);
  bool to_be_verified(const Load& load) const;
  void hash(Load& load, uint64_t bytes);
  void hash_landed(Load& load);
  uint32_t chunks(const Load& load) const;
  Error in_oldest_load(Error error) const;
  Status finish(Load& load);

  Spans* spans_ = nullptr;
  uint32_t track_ = 0;
  std::function<void(uint64_t bytes)> checksum_taken_;
  const ExpertSource& source_;
  const std::span<std::byte> staging_;
  const uint32_t chunk_bytes_;
  uint64_t loads_started_ = 0;
  std::vector<Load> loads_;
  std::vector<uint32_t> free_loads_;
  std::vector<uint32_t> demand_;       // loads with chunks to offer, in the order of start()
  std::vector<uint32_t> speculative_;  // likewise
  std::vector<uint32_t> read_;         // loads whose reads are done, in that order
  std::vector<StagedPiece> staged_;
  std::vector<ReadOp*> waited_for_;  // done, and not taken in
  std::vector<ReadOp> ops_;          // [depth]
  std::vector<ReadOp*> free_ops_;
  std::unique_ptr<ReadQueue> queue_;  // last: waits for the drive before anything else goes
};

}  // namespace switchyard
