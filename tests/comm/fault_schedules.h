#pragma once

// What tests of many seeded schedules with a fault each have in common.

#include <cstdint>
#include <string>

#include "comm/simulated_world.h"
#include "runtime/base/prng.h"
#include "runtime/base/result.h"

namespace switchyard {

// The kinds of faults in turn, on one of the ranks, at one of its first so many messages.
inline SimulatedFault draw_fault(Prng& prng, uint64_t seed, uint32_t ranks, uint64_t messages) {
  SimulatedFault fault;
  fault.kind = SimulatedFault::Kind{static_cast<uint8_t>(seed % 7)};
  fault.rank = static_cast<uint32_t>(prng.below(ranks));
  fault.other = static_cast<uint32_t>((fault.rank + 1 + prng.below(ranks - 1)) % ranks);
  fault.at_message = 1 + prng.below(messages);
  fault.delay_seconds = prng.below(2) == 0 ? 0.1 : 1e4;
  fault.error = {Code::kIo, "cannot read", "expert 7", {}};
  return fault;
}

// Whether the fault may end a rank so. A deadlock is a hang that the simulation noticed.
inline bool is_named(const Error& error, const SimulatedFault& fault, uint32_t rank) {
  using Kind = SimulatedFault::Kind;
  if (fault.kind == Kind::kNone || error.what.find("deadlock") != std::string::npos) return false;
  const bool its_own = fault.kind == Kind::kLeave && rank == fault.rank;
  return error.where.starts_with("rank ") || (its_own && error.where == fault.error.where);
}

}  // namespace switchyard
