#pragma once

// All calls of MPI, by one thread: carries the messages of a rank, watches over the other ranks.

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/handover.h"
#include "comm/mpi_calls.h"
#include "comm/mpi_peers.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

class MpiLink {
 public:
  // Initialises MPI, which takes its time and waits for all ranks of the job. kUnavailable.
  static Result<std::unique_ptr<MpiLink>> open(const WorldLimits& limits);

  uint32_t rank() const { return rank_; }
  uint32_t size() const { return size_; }

  // Carries messages until this rank and all others are done. Otherwise the error, of which the
  // other ranks have been told; the memory of messages in flight is not touched any more then, if
  // MPI is left alone.
  Status serve(Handover& handover);
  // After that, if all went well. Waits for all ranks.
  void finalise();

 private:
  struct InFlight {
    Message* message;
    double since;
  };

  MpiLink(MPI_Comm comm, uint32_t rank, uint32_t size, const WorldLimits& limits, double now);

  Status serve_until_done(Handover& handover);
  Status begin(Message& message, double now);
  Status test(Handover& handover, double now);
  Status check_message(Handover& handover, const Message& message, const MPI_Status& status,
                       bool has_error);
  void drop_spent();
  // What is looked at now and then: who is lost, what takes too long.
  Status watch(Handover& handover, double now);
  Status watch_wait(const Handover::Wait& wait, double now);
  Status watch_done(Handover& handover, double now);
  Result<bool> is_done(Handover& handover, double now);
  void rest(Handover& handover, double now);

  const MPI_Comm comm_;
  const uint32_t rank_, size_;
  const WorldLimits limits_;
  MpiPeers peers_;
  // Request 0 receives what the others say; request i is of in_flight_[i].
  std::vector<MPI_Request> requests_;
  std::vector<InFlight> in_flight_;
  std::vector<Message*> posted_;      // reused
  std::vector<int> indices_;          // reused
  std::vector<MPI_Status> statuses_;  // reused
  double active_ = 0;                 // when a message began or ended last
  double watched_ = 0, done_since_ = 0;
  bool done_ = false;
};

}  // namespace switchyard
