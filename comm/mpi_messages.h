#pragma once

// The messages of a rank on the communication thread, from the hands of the rank to MPI and back.

#include <cstddef>
#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "comm/in_flight.h"
#include "comm/mpi_calls.h"
#include "runtime/base/result.h"

namespace switchyard {

// A receive is given to MPI only once its message is there and has the right length: Open MPI 4.1
// writes a long message (one that it does not send eagerly) past the end of a shorter receive.
class MpiMessages {
 public:
  // Of another length than asked for.
  struct WrongLength {
    uint32_t from;
    size_t bytes, bytes_came;
  };
  using Outcome = Result<std::optional<WrongLength>>;

  MpiMessages(MPI_Comm comm, uint32_t ranks) : comm_(comm), flows_(size_t{ranks} * kChannels) {}

  Outcome begin(Message& message, double now);
  // A message of a channel has come.
  Outcome arrived(MPI_Message handle, const MPI_Status& status, double now);
  // The messages that are over; valid until the next call.
  Result<std::vector<Message*>*> test();

  size_t in_flight() const { return posted_ + active_.size(); }
  // Of one who is done everything has come that will: whether more is awaited from it.
  bool awaits(uint32_t from) const;
  // Whether it was sent something, before `time`, that it has not taken.
  bool sends_since(uint32_t to, double time) const;

 private:
  struct Early {
    MPI_Message handle;
    size_t bytes;
  };
  // What one rank sends on one channel: at most one of the two holds anything.
  struct Incoming {
    MessageQueue posted;
    std::deque<Early> early;
  };
  struct Active {
    Message* message;
    double since;
  };

  Incoming& incoming(uint32_t from, Channel channel) {
    return flows_[from * kChannels + static_cast<uint32_t>(channel)];
  }
  Outcome receive(Message& message, Early early, double now);
  void activate(Message& message, MPI_Request request, double now);

  const MPI_Comm comm_;
  std::vector<Incoming> flows_;  // [ranks · channels]
  size_t posted_ = 0;            // receives whose message has not come
  std::vector<MPI_Request> requests_;
  std::vector<Active> active_;  // [requests]
  std::vector<int> indices_;    // reused, as are those below
  std::vector<MPI_Status> statuses_;
  std::vector<Message*> over_;
};

}  // namespace switchyard
