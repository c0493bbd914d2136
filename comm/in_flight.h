#pragma once

// Messages in flight between ranks of one process: their tickets, and which send belongs to which
// receive. Nothing here locks; who owns these says when they are used.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "comm/world.h"

namespace switchyard {

inline constexpr uint32_t kChannels = static_cast<uint32_t>(Channel::kHints) + 1;

// One end of a message: a send or a receive of the rank that holds its ticket.
struct Message {
  enum class State : uint8_t { kInFlight, kOver, kWrongLength };

  uint32_t peer = 0;
  bool sends = false;
  Channel channel = Channel::kControl;
  const std::byte* source = nullptr;  // of a send
  std::byte* target = nullptr;        // of a receive
  size_t bytes = 0;
  State state = State::kInFlight;
  size_t bytes_came = 0;    // kWrongLength: what was sent instead
  Message* next = nullptr;  // in its queue
};

// The messages of one rank by ticket. Their addresses stay; a spent ticket is noticed.
class TicketTable {
 public:
  std::pair<World::Ticket, Message*> add(const Message& message);
  Message& at(World::Ticket ticket);
  void spend(World::Ticket ticket);

 private:
  struct Place {
    Message message;
    uint32_t spent = 0;  // how many tickets of this place, of which the ticket knows 16 bits
    bool used = false;
  };
  std::deque<Place> places_;
  std::vector<uint32_t> free_;
};

// First in, first out; does not own what it holds.
class MessageQueue {
 public:
  bool empty() const { return first_ == nullptr; }
  void push(Message& message);
  Message& pop();  // not empty
  void clear() { first_ = last_ = nullptr; }

 private:
  Message* first_ = nullptr;
  Message* last_ = nullptr;
};

// What one rank sends another on one channel.
struct Flow {
  MessageQueue sent, posted;

  // The next send and the receive it belongs to.
  std::optional<std::pair<Message*, Message*>> match();
};

// Copies what was sent to where it is awaited, if the lengths agree; both messages then are over.
void carry_over(Message& sent, Message& posted);

// Every flow between `ranks` ranks.
class Flows {
 public:
  explicit Flows(uint32_t ranks) : ranks_(ranks), flows_(size_t{ranks} * ranks * kChannels) {}
  uint32_t index(uint32_t from, uint32_t to, Channel channel) const {
    return (from * ranks_ + to) * kChannels + static_cast<uint32_t>(channel);
  }
  Flow& operator[](uint32_t index) { return flows_[index]; }
  // Forgets what a rank has begun to send and to receive: its memory is not touched any more.
  void drop(uint32_t rank);

 private:
  const uint32_t ranks_;
  std::vector<Flow> flows_;
};

}  // namespace switchyard
