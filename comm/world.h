#pragma once

// Ranks that work together and send each other messages. One thread of a rank uses its World.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "runtime/base/result.h"

namespace switchyard {

inline constexpr uint32_t kRanksMax = 64;

// What messages between two ranks are about. Those of one channel arrive in the order in which they
// were sent; channels do not wait for one another.
enum class Channel : uint8_t {
  kControl,
  kCounts,
  kRows,
  kPartials,
  kSlices,
  kHeads,
  kState,
  kResults,
  kHints
};

// What a wait is for, as its error says it: "rows of layer 3". No layer: −1.
struct Awaited {
  std::string_view what;
  int32_t layer = -1;
  bool patient = false;  // as long as it takes: only the loss of a rank ends it
};

struct WorldLimits {
  double silence_seconds = 6;  // a rank of which nothing is heard for so long is lost
  double wait_seconds = 600;   // a wait of this length is given up, however alive the others are
};

class World {
 public:
  // A message in flight, until poll() says true or wait() returns.
  enum class Ticket : uint32_t {};

  World(uint32_t rank, uint32_t size) : rank_(rank), size_(size) {}
  virtual ~World() = default;
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  uint32_t rank() const { return rank_; }
  uint32_t size() const { return size_; }

  // Begin to send `bytes` to another rank, or to receive exactly so many from it (zero is allowed).
  // The memory is the caller's and stays as it is while the message is in flight. Do not block.
  virtual Ticket send(uint32_t to, Channel channel, std::span<const std::byte> bytes) = 0;
  virtual Ticket receive(uint32_t from, Channel channel, std::span<std::byte> bytes) = 0;

  // True: the message is over and its ticket spent. Does not block.
  virtual Result<bool> poll(Ticket ticket) = 0;
  // Blocks until the message is over. kUnavailable naming the rank and what was awaited when it is
  // lost or the wait takes too long; kInternal when the message has another length than was asked
  // for; the error with which another rank left, its place beginning with "rank N". After an error
  // no message is in flight any more, and every further call fails likewise.
  virtual Status wait(Ticket ticket, const Awaited& awaited) = 0;

  // Tells the others, in a bounded time, that this rank leaves, and why: their waits fail with it.
  virtual void leave(const Error& error) = 0;

  // On the clock of this world's deadlines.
  virtual double now_seconds() const = 0;

 private:
  const uint32_t rank_, size_;
};

}  // namespace switchyard
