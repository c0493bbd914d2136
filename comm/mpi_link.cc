#include "comm/mpi_link.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <string>
#include <utility>

#include "comm/world_error.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"

namespace switchyard {

namespace {

constexpr double kWatchSeconds = 0.05;
// After something happened more may follow at once, and a thread that sleeps is late for it.
constexpr double kLingerSeconds = 100e-6;
// While the rank waits this thread gives its processor away but does not sleep, for so long.
constexpr double kEagerSeconds = 20e-3;
constexpr double kNapSeconds = 100e-6, kIdleSeconds = 0.1, kEndingSeconds = 0.5e-3;
// What one who is done has sent is on its way at most so long.
constexpr double kGoneSeconds = 2;

std::string place(uint32_t rank) { return fmt::format("rank {}", rank); }

// make(awaited), with what the rank awaits now: its text lives no longer than that call.
template <class Make>
tl::unexpected<Error> fail_waiting(Handover& handover, const Make& make) {
  Error error;
  handover.look_at_wait([&](const Handover::Wait& wait) { error = make(wait.awaited); });
  return tl::unexpected(std::move(error));
}

}  // namespace

MpiLink::MpiLink(MPI_Comm comm, uint32_t rank, uint32_t size, const WorldLimits& limits, double now)
    : comm_(comm),
      rank_(rank),
      size_(size),
      limits_(limits),
      peers_(comm, rank, size, limits, now),
      requests_(1, MPI_REQUEST_NULL),
      in_flight_(1),
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
  std::unique_ptr<MpiLink> link(new MpiLink(comm, static_cast<uint32_t>(rank),
                                            static_cast<uint32_t>(size), limits, now_seconds()));
  TRY_STATUS(link->peers_.post(link->requests_[0]));
  return link;
}

Status MpiLink::serve(Handover& handover) {
  Status served = serve_until_done(handover);
  if (!served && !peers_.left()) peers_.tell(served.error(), requests_[0]);
  return served;
}

Status MpiLink::serve_until_done(Handover& handover) {
  while (true) {
    const double now = now_seconds();
    posted_.clear();
    handover.take(posted_);
    for (Message* message : posted_) TRY_STATUS(begin(*message, now));
    TRY_STATUS(test(handover, now));
    if (now - watched_ > kWatchSeconds) TRY_STATUS(watch(handover, now));
    if (TRY(is_done(handover, now))) return {};
    rest(handover, now);
  }
}

Status MpiLink::begin(Message& message, double now) {
  active_ = now;
  const auto bytes = static_cast<int>(message.bytes);
  const auto peer = static_cast<int>(message.peer);
  const auto tag = static_cast<int>(message.channel);
  MPI_Request request = MPI_REQUEST_NULL;
  const int code = message.sends
                       ? MPI_Isend(message.source, bytes, MPI_BYTE, peer, tag, comm_, &request)
                       : MPI_Irecv(message.target, bytes, MPI_BYTE, peer, tag, comm_, &request);
  TRY_STATUS(check_mpi(code, message.sends ? "MPI_Isend" : "MPI_Irecv", place(message.peer)));
  requests_.push_back(request);
  in_flight_.push_back({&message, now});
  return {};
}

Status MpiLink::test(Handover& handover, double now) {
  indices_.resize(requests_.size());
  statuses_.resize(requests_.size());
  int count = 0;
  const int code = MPI_Testsome(static_cast<int>(requests_.size()), requests_.data(), &count,
                                indices_.data(), statuses_.data());
  const bool has_error = code == MPI_ERR_IN_STATUS;
  if (!has_error) TRY_STATUS(check_mpi(code, "MPI_Testsome"));
  if (count == MPI_UNDEFINED || count == 0) return {};
  // What the others say comes first: of one who has left nothing is believed any more.
  for (int i = 0; i < count; ++i) {
    if (indices_[i] != 0) continue;
    TRY_STATUS(peers_.take(statuses_[i], now));
    TRY_STATUS(peers_.post(requests_[0]));
  }
  for (int i = 0; i < count; ++i) {
    if (indices_[i] == 0) continue;
    InFlight& entry = in_flight_[static_cast<size_t>(indices_[i])];
    Message& message = *std::exchange(entry.message, nullptr);
    TRY_STATUS(check_message(handover, message, statuses_[i], has_error));
    if (!message.sends) peers_.heard(message.peer, now);
    handover.complete(message);
    active_ = now;
  }
  drop_spent();
  return {};
}

Status MpiLink::check_message(Handover& handover, const Message& message, const MPI_Status& status,
                              bool has_error) {
  // Only then does MPI set a status's own code.
  const int code = has_error ? status.MPI_ERROR : MPI_SUCCESS;
  int error_class = MPI_SUCCESS;
  if (code != MPI_SUCCESS) MPI_Error_class(code, &error_class);
  if (error_class != MPI_ERR_TRUNCATE) {
    TRY_STATUS(check_mpi(code, message.sends ? "MPI_Isend" : "MPI_Irecv", place(message.peer)));
  }
  if (message.sends) return {};
  int count = 0;
  MPI_Get_count(&status, MPI_BYTE, &count);
  const auto bytes = static_cast<size_t>(count);
  if (bytes == message.bytes) return {};
  return fail_waiting(handover, [&](const Awaited& awaited) {
    return length_error(message.peer, message.bytes, bytes, awaited);
  });
}

void MpiLink::drop_spent() {
  size_t kept = 1;
  for (size_t i = 1; i < in_flight_.size(); ++i) {
    if (in_flight_[i].message == nullptr) continue;
    in_flight_[kept] = in_flight_[i];
    requests_[kept++] = requests_[i];
  }
  in_flight_.resize(kept);
  requests_.resize(kept);
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
  if (wait.message == nullptr || now - wait.since < limits_.wait_seconds) return {};
  return tl::unexpected(late_error(wait.message->peer, limits_.wait_seconds, wait.awaited));
}

Status MpiLink::watch_done(Handover& handover, double now) {
  for (const InFlight& entry : in_flight_) {
    if (entry.message == nullptr) continue;
    const auto done = peers_.done_since(entry.message->peer);
    if (!done || now - std::max(*done, entry.since) < kGoneSeconds) continue;
    return fail_waiting(
        handover, [&](const Awaited& awaited) { return gone_error(entry.message->peer, awaited); });
  }
  return {};
}

Result<bool> MpiLink::is_done(Handover& handover, double now) {
  if (done_) {
    if (peers_.all_done()) return true;
    if (now - done_since_ < limits_.wait_seconds) return false;
    return fail(Code::kUnavailable,
                fmt::format("other ranks were not done {:.4g} s later", limits_.wait_seconds));
  }
  const auto orders = handover.orders();
  if (!orders) return false;
  if (orders->leave) return tl::unexpected(*orders->leave);
  if (in_flight_.size() > 1) {
    return fail(Code::kUnavailable,
                fmt::format("left with {} messages in flight", in_flight_.size() - 1));
  }
  done_ = true;
  done_since_ = now;
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
    handover.rest(in_flight_.size() > 1 || waits ? kNapSeconds : kIdleSeconds);
  }
}

void MpiLink::finalise() {
  MPI_Cancel(&requests_[0]);
  MPI_Wait(&requests_[0], MPI_STATUS_IGNORE);
  MPI_Finalize();
}

}  // namespace switchyard
