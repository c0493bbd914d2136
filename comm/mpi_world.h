#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <thread>

#include "comm/in_flight.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

// The ranks of an MPI job. A thread of its own makes every call of MPI: the rank's thread only
// hands messages over, and a rank that computes for long still answers. When nothing is in flight
// that thread sleeps; while the rank waits it polls, giving its processor to whoever wants it.
//
// Messages are shorter than 2 GiB. An error ends the communication of this process for good: the
// other ranks are told, and MPI is left as it is, so that nothing can keep the process from ending.
// One such world a process.
class MpiWorld final : public World {
 public:
  // Initialises MPI. Blocks until all ranks of the job have begun, or kUnavailable after
  // limits.wait_seconds.
  static Result<std::unique_ptr<World>> create(const WorldLimits& limits = {});
  // Waits until all ranks are done unless the world has failed, then finalises MPI. With messages
  // still in flight it leaves, as leave() does.
  ~MpiWorld() override;

  Ticket send(uint32_t to, Channel channel, std::span<const std::byte> bytes) override;
  Ticket receive(uint32_t from, Channel channel, std::span<std::byte> bytes) override;
  Result<bool> poll(Ticket ticket) override;
  Status wait(Ticket ticket, const Awaited& awaited) override;
  void leave(const Error& error) override;
  double now_seconds() const override;

 private:
  struct Shared;
  MpiWorld(uint32_t rank, uint32_t size, std::shared_ptr<Shared> shared, std::thread thread);

  Ticket post(const Message& message);

  const std::shared_ptr<Shared> shared_;  // outlives this if the thread does
  std::thread thread_;
  TicketTable tickets_;
};

// "Open MPI v4.1.4, …", for reports. May be called before and after everything else.
std::string mpi_version();

}  // namespace switchyard
