#pragma once

// The other ranks of an MPI world as the communication thread knows them: who was heard of when,
// who is done, who has left and why.

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "comm/control_message.h"
#include "comm/liveness.h"
#include "comm/mpi_calls.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

class MpiPeers {
 public:
  MpiPeers(MPI_Comm comm, uint32_t rank, uint32_t size, const WorldLimits& limits, double now);

  // Whether a message is for this, not of a channel.
  static bool is_control(const MPI_Status& status);
  // Takes it in. An error when the other has left: its own, for this rank's waits.
  Status take(MPI_Message handle, const MPI_Status& status, double now);

  void heard(uint32_t rank, double now) {
    peers_[rank].heard = now;
    liveness_.heard(rank, now);
  }
  // As if everybody had been heard just now: it was this process that was away.
  void forgive(double now);
  // A sign of life to everybody, now and then.
  Status beat(double now);
  // The rank that is lost, if one is. One that is done may be silent.
  std::optional<uint32_t> lost(double now);

  Status say_done() { return say_to_all(ControlMessage::Kind::kDone); }
  bool all_done() const;
  // Since when `rank` is done; nothing when it is not.
  std::optional<double> done_since(uint32_t rank) const { return peers_[rank].done_since; }

  // Whether somebody has left: everybody knows it from him.
  bool left() const { return left_; }
  // Tells everybody why this rank leaves; until all who live have answered, or for a bounded time.
  void tell(const Error& error);

 private:
  struct Peer {
    double heard = 0;
    std::optional<double> done_since;
    bool knows = false;  // that this rank leaves, or has left itself
    MPI_Request beat = MPI_REQUEST_NULL;
    MPI_Request said = MPI_REQUEST_NULL;
  };

  Status say(uint32_t rank, ControlMessage::Kind kind);
  Status say_to_all(ControlMessage::Kind kind);
  template <class Each>
  void for_each_other(const Each& each);
  void listen();

  const MPI_Comm comm_;
  const uint32_t rank_;
  const double beat_seconds_;
  Liveness liveness_;
  double next_beat_ = 0;
  bool left_ = false;
  std::vector<Peer> peers_;                   // [ranks]
  std::string told_;                          // while it is being sent
  std::array<char, 4> kinds_ = {0, 1, 2, 3};  // likewise: the messages that are a kind alone
};

}  // namespace switchyard
