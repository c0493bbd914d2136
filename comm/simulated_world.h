#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "comm/world.h"

namespace switchyard {

// One thing that goes wrong: when `rank` sends its at_message-th message, counted from one, or at
// that time if at_message is zero; a fault of a message then takes the next one that `rank` sends.
struct SimulatedFault {
  enum class Kind : uint8_t {
    kNone,
    kLoseRank,      // `rank` stops: what it has in flight vanishes, its own calls fail
    kCutLink,       // between `rank` and `other`: nothing gets through any more
    kDelayMessage,  // by delay_seconds
    kWrongLength,   // a message of one byte less, or of one instead of none
    kCorruptByte,   // one byte of a message, if it has any, becomes another
    kLeave,         // `rank` leaves with `error`, as if by leave()
  };
  Kind kind = Kind::kNone;
  uint32_t rank = 0, other = 0;
  uint64_t at_message = 0;
  double at_seconds = 0;
  double delay_seconds = 0;
  Error error = {};

  bool is_of_message() const {
    return kind == Kind::kDelayMessage || kind == Kind::kWrongLength || kind == Kind::kCorruptByte;
  }
};

struct SimulatedOptions {
  uint64_t seed = 0;
  WorldLimits limits = {};  // in simulated seconds
  // What a message takes on its way, beside the links. Messages of one channel between two ranks
  // keep their order, all others overtake each other.
  double latency_min_seconds = 1e-4, latency_max_seconds = 1e-3;
  double out_bytes_per_second = 0, in_bytes_per_second = 0;  // of each rank's links; 0: no limit
  double stall_max_seconds = 0;  // a rank that can go on does so at a time within this
  SimulatedFault fault = {};
  // Keeps the threads of one run on one processor, on which the next rank goes on several times
  // sooner. Threads that a rank starts inherit it.
  bool one_processor = true;
};

class SimulatedWorld : public World {
 public:
  using World::World;
  // Work of so many simulated seconds; nothing else but waiting takes any.
  virtual void spend(double seconds) = 0;
};

class Simulation;

// Ranks that are threads of one process of which one runs at a time, on a clock that jumps to
// whatever happens next: the same options give the same events in the same order, and the same
// bytes. Both ends of a message are over when it has arrived and its receive was posted; its bytes
// are read only then. A live rank is heard of all the time. When nothing can happen any more, every
// rank that waits fails with kInternal, "deadlock…".
class SimulatedHub {
 public:
  SimulatedHub(uint32_t ranks, const SimulatedOptions& options);  // ranks in [1, kRanksMax]
  ~SimulatedHub();

  // To be used in run() by the thread of its rank only.
  SimulatedWorld& world(uint32_t rank);
  // Runs `body` for every rank on a thread of its own and returns when all have ended; once. A rank
  // whose body has ended counts as gone.
  void run(const std::function<void(SimulatedWorld&)>& body);

  // After run():
  uint64_t log_hash() const;                              // of all that happened, in its order
  uint64_t events() const;                                // how much that was
  double finish_seconds(uint32_t rank) const;             // when its body ended
  uint64_t bytes_sent(uint32_t from, uint32_t to) const;  // that messages were begun with

 private:
  const bool one_processor_;
  const std::unique_ptr<Simulation> simulation_;
  std::vector<std::unique_ptr<SimulatedWorld>> worlds_;
};

}  // namespace switchyard
