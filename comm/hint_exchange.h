#pragma once

// What ranks tell each other ahead of need: which of the other's experts rows here are likely to
// want, and which of one's own are in memory. Nothing that a result depends on.

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "comm/traffic.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

struct Hint {
  uint16_t expert = 0;
  uint8_t layers_ahead = 1;  // of the one in which it is sent
  uint8_t probability = 0;   // in 255ths
};

// What came from a rank in a layer; valid while it is given.
struct Hints {
  uint32_t from = 0;
  uint32_t layer = 0;
  std::span<const Hint> wanted;       // of this rank's experts
  std::span<const uint64_t> present;  // a bit each of the sender's
};

// A message of fixed size from each rank to each other one in a layer. Those of two layers may be
// under way together. All ranks call the same verbs for the same layers.
class HintExchange {
 public:
  static constexpr uint32_t kHintsMax = 32;  // to one rank in a layer

  // `world` outlives the exchange; `present_words`: of `present`, the same on all ranks.
  HintExchange(World& world, uint32_t present_words);

  // Sends each other rank the first kHintsMax of what is `wanted` of it, [ranks], and begins to
  // receive the same. Does not block. The layer before the last one must be over.
  void begin(uint32_t step, uint32_t layer, std::span<const std::vector<Hint>> wanted,
             std::span<const uint64_t> present);

  // Gets what came from a rank, once a layer.
  using Sink = std::function<void(const Hints&)>;
  // What has come. Does not block. The world's errors; kBadData for what came damaged, kInternal
  // for what another rank says of another step or layer.
  Status take(const Sink& sink);
  // Blocks until the messages of `layer` and of those before are over; takes what came.
  Status finish(uint32_t layer, const Sink& sink);

  // Bytes sent; all else is 0.
  const Traffic& traffic() const { return traffic_; }
  void reset_traffic() { traffic_.clear(); }

 private:
  // The messages of a layer.
  struct Round {
    uint32_t step = 0, layer = 0;
    std::vector<uint64_t> outgoing, incoming;  // [ranks][words_]
    std::vector<World::Ticket> sent;
    std::vector<uint32_t> awaited;         // ranks whose message has not been taken …
    std::vector<World::Ticket> receiving;  // … and its receive
  };
  std::span<uint64_t> message(std::vector<uint64_t>& messages, uint32_t rank) const;
  void write(std::span<uint64_t> to, const Round& round, std::span<const Hint> wanted,
             std::span<const uint64_t> present) const;
  Status read(Round& round, uint32_t from, const Sink& sink);
  Status take_one(Round& round, size_t i, const Sink& sink);

  World& world_;
  const size_t words_;           // of a message
  std::array<Round, 2> rounds_;  // the older one first
  Traffic traffic_;
};

}  // namespace switchyard
