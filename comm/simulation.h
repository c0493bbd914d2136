#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <queue>
#include <vector>

#include "comm/baton.h"
#include "comm/in_flight.h"
#include "comm/simulated_links.h"
#include "comm/simulated_world.h"
#include "runtime/base/prng.h"

namespace switchyard {

// What SimulatedHub runs. The rank that holds the baton calls; when it has to wait, it makes things
// happen in the order of their times, ties by the seed, until a rank can go on.
class Simulation {
 public:
  Simulation(uint32_t ranks, const SimulatedOptions& options);

  // The calls of a rank's world.
  World::Ticket begin(uint32_t rank, const Message& message);
  Result<bool> poll(uint32_t rank, World::Ticket ticket);
  Status wait(uint32_t rank, World::Ticket ticket, const Awaited& awaited);
  void leave(uint32_t rank, const Error& error);
  void spend(uint32_t rank, double seconds);
  double now() const { return now_; }

  // All ranks are ready; the first of them goes on.
  void start();
  void await_turn(uint32_t rank) { baton_.await(rank); }
  void end(uint32_t rank);

  uint64_t log_hash() const { return log_; }
  uint64_t events() const { return happened_; }
  double finish_seconds(uint32_t rank) const { return seats_[rank].finish; }
  uint64_t bytes_sent(uint32_t from, uint32_t to) const { return sent_[from * ranks_ + to]; }

 private:
  static constexpr double kNever = std::numeric_limits<double>::infinity();
  using Kind = SimulatedFault::Kind;

  struct Seat {
    TicketTable messages;
    const Message* awaited_message = nullptr;  // it waits for this
    const Awaited* awaited = nullptr;
    double waits_since = 0;
    bool ended = false, left = false, lost = false;
    std::optional<Error> error;    // with which all its calls fail
    Error told;                    // left: what the others learn
    std::vector<bool> knows_gone;  // [ranks]
    uint64_t messages_sent = 0;
    double finish = 0;
  };

  enum class What : uint8_t { kGoesOn, kPolls, kReaches, kArrives, kTold, kGone, kFault };
  struct Event {
    double at;
    uint64_t tie;
    What what;
    uint32_t from, to;
    uint32_t flow;
    double last;   // kReaches: when the last byte can come
    size_t bytes;  // kReaches
  };
  struct Later {
    bool operator()(const Event& a, const Event& b) const {
      return a.at != b.at ? a.at > b.at : a.tie > b.tie;
    }
  };
  // The end of a rank's wait without its message.
  struct Alarm {
    double at = kNever;
    uint32_t rank = 0;
    std::optional<uint32_t> silent;  // the rank that is, or the wait takes too long
  };

  void add(What what, double at, uint32_t from, uint32_t to);
  std::optional<uint32_t> next();
  std::optional<uint32_t> happen(const Event& event);
  void give_way(uint32_t rank);
  void go_on(uint32_t rank, double at);
  void note(What what, uint32_t from, uint32_t to, uint64_t value);

  void transmit(uint32_t from, Message& message);
  void arrive(const Event& event);
  void meet(uint32_t from, uint32_t to, uint32_t flow);
  void learn_gone(uint32_t rank, uint32_t gone);

  Result<bool> look(uint32_t rank, World::Ticket ticket, const Awaited& awaited);
  double poll_seconds();
  void fail(uint32_t rank, Error error);
  Alarm first_alarm() const;
  void raise(const Alarm& alarm);
  void raise_deadlock();

  bool strikes_message(const Seat& seat) const;
  void spoil(Message& message);
  void strike();
  bool is_cut(uint32_t a, uint32_t b) const;
  double silent_since(uint32_t rank, uint32_t of) const;
  double latency();

  const uint32_t ranks_;
  const SimulatedOptions options_;
  Prng prng_;
  Baton baton_;
  double now_ = 0;
  uint32_t running_ = 0, ended_ = 0;
  std::vector<Seat> seats_;
  std::vector<uint64_t> sent_;  // [from, to] bytes
  std::priority_queue<Event, std::vector<Event>, Later> events_;
  uint64_t polls_ = 0;       // of events_, ranks that have polled in vain
  uint64_t idle_polls_ = 0;  // of late, with nothing else in events_
  uint64_t log_ = 0, happened_ = 0;

  SimulatedLinks links_;
  Flows flows_;
  std::vector<MessageQueue> transit_;                // [flows] on the way
  std::vector<double> reached_last_, arrived_last_;  // [flows] no later message is earlier

  bool struck_ = false;        // the fault has happened,
  double struck_at_ = kNever;  // then
  double delay_ = 0;           // of the message that is being sent
  const Message* corrupt_ = nullptr;
};

}  // namespace switchyard
