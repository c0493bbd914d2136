#include "comm/mpi_link.h"

#include <fmt/format.h>
#include <sched.h>

#include <optional>
#include <utility>

#include "comm/world_error.h"
#include "runtime/base/clock.h"

namespace switchyard {

namespace {

constexpr double kWatchSeconds = 0.05;
// After something happened more may follow at once, and a thread that sleeps is late for it.
constexpr double kLingerSeconds = 100e-6;
// While the rank waits this thread gives its processor away but does not sleep, for so long.
constexpr double kEagerSeconds = 20e-3;
constexpr double kNapSeconds = 100e-6, kIdleSeconds = 0.1, kEndingSeconds = 0.5e-3;
// One who is done may yet have something to say about what it was sent.
constexpr double kTakenSeconds = 2;

// make(awaited), with what the rank awaits now: its text lives no longer than that call.
template <class Make>
tl::unexpected<Error> fail_waiting(Handover& handover, const Make& make) {
  Error error;
  handover.look_at_wait([&](const Handover::Wait& wait) { error = make(wait.awaited); });
  return tl::unexpected(std::move(error));
}

tl::unexpected<Error> fail_length(Handover& handover, const MpiMessages::WrongLength& wrong) {
  return fail_waiting(handover, [&](const Awaited& awaited) {
    return length_error(wrong.from, wrong.bytes, wrong.bytes_came, awaited);
  });
}

}  // namespace

MpiLink::MpiLink(MPI_Comm comm, uint32_t rank, uint32_t size, const WorldLimits& limits, double now)
    : comm_(comm),
      rank_(rank),
      size_(size),
      limits_(limits),
      peers_(comm, rank, size, limits, now),
      messages_(comm, size),
      watched_(now) {}

Result<std::unique_ptr<MpiLink>> MpiLink::open(const WorldLimits& limits) {
  int level = 0;
  int rank = 0;
  int size = 0;
  MPI_Comm comm = MPI_COMM_NULL;
  TRY_STATUS(
      check_mpi(MPI_Init_thread(nullptr, nullptr, MPI_THREAD_FUNNELED, &level), "MPI_Init_thread"));
  TRY_STATUS(check_mpi(MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN),
                       "MPI_Comm_set_errhandler"));
  TRY_STATUS(check_mpi(MPI_Comm_dup(MPI_COMM_WORLD, &comm), "MPI_Comm_dup"));
  TRY_STATUS(check_mpi(MPI_Comm_rank(comm, &rank), "MPI_Comm_rank"));
  TRY_STATUS(check_mpi(MPI_Comm_size(comm, &size), "MPI_Comm_size"));
  if (size > static_cast<int>(kRanksMax)) {
    MPI_Finalize();
    return fail(Code::kUsage, fmt::format("{} ranks", size), {},
                fmt::format("start at most {}", kRanksMax));
  }
  return std::unique_ptr<MpiLink>(new MpiLink(comm, static_cast<uint32_t>(rank),
                                              static_cast<uint32_t>(size), limits, now_seconds()));
}

Status MpiLink::serve(Handover& handover) {
  Status served = serve_until_done(handover);
  if (!served && !peers_.left()) peers_.tell(served.error());
  return served;
}

Status MpiLink::serve_until_done(Handover& handover) {
  while (true) {
    const double now = now_seconds();
    // The rank has given up waiting for a call of MPI.
    if (const auto error = handover.failure()) return tl::unexpected(*error);
    TRY_STATUS(take_posted(handover, now));
    TRY_STATUS(take_arrived(handover, now));
    TRY_STATUS(complete(handover, now));
    if (now - watched_ > kWatchSeconds) TRY_STATUS(watch(handover, now));
    if (TRY(is_done(handover))) return {};
    rest(handover, now);
  }
}

Status MpiLink::take_posted(Handover& handover, double now) {
  posted_.clear();
  handover.take(posted_);
  if (!posted_.empty()) active_ = now;
  for (Message* message : posted_) {
    const auto wrong = TRY(messages_.begin(*message, now));
    if (wrong) return fail_length(handover, *wrong);
  }
  return {};
}

Status MpiLink::take_arrived(Handover& handover, double now) {
  while (true) {
    int any = 0;
    MPI_Message message = MPI_MESSAGE_NULL;
    MPI_Status status;
    TRY_STATUS(check_mpi(MPI_Improbe(MPI_ANY_SOURCE, MPI_ANY_TAG, comm_, &any, &message, &status),
                         "MPI_Improbe"));
    if (any == 0) return {};
    if (MpiPeers::is_control(status)) {
      TRY_STATUS(peers_.take(message, status, now));
      continue;
    }
    active_ = now;
    peers_.heard(static_cast<uint32_t>(status.MPI_SOURCE), now);
    const auto wrong = TRY(messages_.arrived(message, status, now));
    if (wrong) return fail_length(handover, *wrong);
  }
}

Status MpiLink::complete(Handover& handover, double now) {
  for (Message* message : *TRY(messages_.test())) {
    peers_.heard(message->peer, now);
    handover.complete(*message);
    active_ = now;
  }
  return {};
}

Status MpiLink::watch(Handover& handover, double now) {
  // A process that was stopped itself, as by scontrol suspend, knows nothing about the others.
  if (now - watched_ > limits_.silence_seconds / 2) peers_.forgive(now);
  watched_ = now;
  TRY_STATUS(peers_.beat(now));
  if (const auto lost = peers_.lost(now)) {
    return fail_waiting(handover, [&](const Awaited& awaited) {
      return silent_error(*lost, limits_.silence_seconds, awaited);
    });
  }
  Status status;
  handover.look_at_wait([&](const Handover::Wait& wait) { status = watch_wait(wait, now); });
  TRY_STATUS(std::move(status));
  return watch_done(handover, now);
}

Status MpiLink::watch_wait(const Handover::Wait& wait, double now) {
  if (wait.message == nullptr || wait.awaited.patient || now - wait.since < limits_.wait_seconds)
    return {};
  return tl::unexpected(late_error(wait.message->peer, limits_.wait_seconds, wait.awaited));
}

Status MpiLink::watch_done(Handover& handover, double now) {
  for (uint32_t rank = 0; rank < size_; ++rank) {
    const auto since = peers_.done_since(rank);
    if (!since) continue;
    const bool takes_no_more =
        now - *since > kTakenSeconds && messages_.sends_since(rank, now - kTakenSeconds);
    if (!takes_no_more && !messages_.awaits(rank)) continue;
    return fail_waiting(handover,
                        [&](const Awaited& awaited) { return gone_error(rank, awaited); });
  }
  return {};
}

Result<bool> MpiLink::is_done(Handover& handover) {
  if (done_) {
    return peers_.all_done();  // as long as it takes: rank 0 may have work that is not shared
  }
  const auto orders = handover.orders();
  if (!orders) return false;
  if (orders->leave) return tl::unexpected(*orders->leave);
  posted_.clear();
  handover.take(posted_);  // what was posted just before the order
  const size_t in_flight = messages_.in_flight() + posted_.size();
  if (in_flight > 0) {
    return fail(Code::kUnavailable, fmt::format("left with {} messages in flight", in_flight));
  }
  done_ = true;
  TRY_STATUS(peers_.say_done());
  return peers_.all_done();
}

void MpiLink::rest(Handover& handover, double now) {
  const double idle = now - active_;
  const bool waits = handover.rank_waits();
  if (idle < (waits ? kEagerSeconds : kLingerSeconds)) {
    ::sched_yield();
  } else if (done_) {
    handover.rest(kEndingSeconds);
  } else {
    handover.rest(messages_.in_flight() > 0 || waits ? kNapSeconds : kIdleSeconds);
  }
}

void MpiLink::finalise() { MPI_Finalize(); }

}  // namespace switchyard
