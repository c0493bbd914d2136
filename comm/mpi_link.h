#pragma once

// All calls of MPI, by one thread: carries the messages of a rank, watches over the other ranks.

#include <cstdint>
#include <memory>
#include <vector>

#include "comm/handover.h"
#include "comm/mpi_calls.h"
#include "comm/mpi_messages.h"
#include "comm/mpi_peers.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

class MpiLink {
 public:
  // Initialises MPI, which takes its time and waits for all ranks of the job. kUnavailable; kUsage
  // when there are more than kRanksMax.
  static Result<std::unique_ptr<MpiLink>> open(const WorldLimits& limits);

  uint32_t rank() const { return rank_; }
  uint32_t size() const { return size_; }

  // Carries messages until this rank and all others are done. Otherwise the error, of which the
  // other ranks have been told; if MPI is left alone from then on, no memory of messages in flight
  // is touched any more.
  Status serve(Handover& handover);
  // After that, if all went well. Waits for all ranks.
  void finalise();

 private:
  MpiLink(MPI_Comm comm, uint32_t rank, uint32_t size, const WorldLimits& limits, double now);

  Status serve_until_done(Handover& handover);
  Status take_posted(Handover& handover, double now);
  Status take_arrived(Handover& handover, double now);
  Status complete(Handover& handover, double now);
  // What is looked at now and then: who is lost, what takes too long.
  Status watch(Handover& handover, double now);
  Status watch_wait(const Handover::Wait& wait, double now);
  Status watch_done(Handover& handover, double now);
  Result<bool> is_done(Handover& handover);
  void rest(Handover& handover, double now);

  const MPI_Comm comm_;
  const uint32_t rank_, size_;
  const WorldLimits limits_;
  MpiPeers peers_;
  MpiMessages messages_;
  std::vector<Message*> posted_;  // reused
  double active_ = 0;             // when a message began or ended last
  double watched_ = 0;
  bool done_ = false;
};

}  // namespace switchyard
