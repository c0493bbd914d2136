#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "experts/expert_source.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"
#include "storage/read_queue.h"

namespace switchyard {

// How a load ended. Nothing writes to the slot or reads from it any more.
struct LoadEnd {
  ExpertKey key;
  SlotIndex slot;
  uint64_t bytes = 0;      // the expert's own
  bool abandoned = false;  // nobody wants it: the slot holds nothing
  Status status{};         // of reading and of ExpertSource::finish(), naming layer and expert
};

// Turns experts into page-aligned chunks of reads, as many at once as the queue takes, in the order
// of start(), and into kernel-ready slots. Retries nothing. One thread.
class ExpertLoader {
 public:
  // `staging` is [loads, source.staging_bytes()] for a source that is not direct, inside the
  // queue's slab and outliving the loader, like `source`. At most `loads` experts are on their way.
  ExpertLoader(const ExpertSource& source, std::unique_ptr<ReadQueue> queue,
               std::span<std::byte> staging, uint32_t loads, uint32_t chunk_bytes);

  bool has_room() const { return !free_loads_.empty(); }
  // Starts reading `key` into `memory`; the reads begin with the next pump(). Needs room.
  void start(ExpertKey key, SlotIndex slot, std::span<std::byte> memory);

  // Takes in the reads that are done and hands on further ones. Does not block. Errors are the
  // queue's, with the expert that is on its way for the longest: everything stays as it is and may
  // be tried again.
  Status pump();
  // pump() after blocking for a read to be done. Needs reads in flight.
  Status wait();
  bool reading() const { return queue_->in_flight() > 0; }

  // Makes kernel-ready an expert whose reads are all done, if there is one. Does not block, but
  // works at the speed of memory.
  std::optional<LoadEnd> take();

  // Nobody wants what is on its way: what was not handed on is dropped, the rest ends as abandoned.
  void abandon();

 private:
  struct Load {
    uint64_t number = 0;  // in the order of start()
    ExpertKey key;
    SlotIndex slot;
    std::span<std::byte> memory;  // the slot
    std::span<std::byte> target;  // of the reads: the slot or a staging area
    std::vector<ExpertPiece> pieces;
    size_t piece = 0;        // the first one not wholly offered …
    uint64_t piece_at = 0;   // … its bytes in pages offered so far …
    uint64_t target_at = 0;  // … and where the next ones go
    uint32_t reads_in_flight = 0;
    bool abandoned = false;
    Status status{};
    bool all_offered() const { return piece == pieces.size(); }
  };
  Status cycle(uint32_t reads_min);
  void top_up();
  void prepare(Load& load, ReadOp& op) const;
  void take_in(std::span<ReadOp* const> done);
  Error in_oldest_load(Error error) const;
  Status finish(const Load& load);

  const ExpertSource& source_;
  const std::span<std::byte> staging_;
  const uint32_t chunk_bytes_;
  uint64_t loads_started_ = 0;
  std::vector<Load> loads_;
  std::vector<uint32_t> free_loads_;
  std::vector<uint32_t> to_offer_;  // loads in the order of start()
  std::vector<uint32_t> read_;      // loads whose reads are done, in that order
  std::vector<StagedPiece> staged_;
  std::vector<ReadOp> ops_;  // [depth]
  std::vector<ReadOp*> free_ops_;
  std::unique_ptr<ReadQueue> queue_;  // last: waits for the drive before anything else goes
};

}  // namespace switchyard
