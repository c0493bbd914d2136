#include "comm/mpi_peers.h"

#include <fmt/format.h>
#include <sched.h>

#include <algorithm>
#include <utility>

#include "comm/in_flight.h"
#include "comm/world_error.h"
#include "runtime/base/clock.h"

namespace switchyard {

namespace {

using Kind = ControlMessage::Kind;

constexpr int kControlTag = static_cast<int>(kChannels);  // after those of the channels
constexpr double kBeatSecondsMax = 0.5, kTellSecondsMax = 0.8, kBeatsMissed = 5;

bool is_over(MPI_Request& request) {
  int over = 0;
  return MPI_Test(&request, &over, MPI_STATUS_IGNORE) != MPI_SUCCESS || over != 0;
}

}  // namespace

MpiPeers::MpiPeers(MPI_Comm comm, uint32_t rank, uint32_t size, const WorldLimits& limits,
                   double now)
    : comm_(comm),
      rank_(rank),
      beat_seconds_(std::min(kBeatSecondsMax, limits.silence_seconds / 8)),
      liveness_(rank, size, limits.silence_seconds, now),
      peers_(size) {
  forgive(now);
}

template <class Each>
void MpiPeers::for_each_other(const Each& each) {
  for (uint32_t rank = 0; rank < peers_.size(); ++rank) {
    if (rank != rank_) each(rank, peers_[rank]);
  }
}

bool MpiPeers::is_control(const MPI_Status& status) { return status.MPI_TAG == kControlTag; }

Status MpiPeers::take(MPI_Message handle, const MPI_Status& status, double now) {
  int length = 0;
  MPI_Get_count(&status, MPI_BYTE, &length);
  const auto from = static_cast<uint32_t>(status.MPI_SOURCE);
  const auto meaningless = [&] {
    return fail(Code::kInternal, fmt::format("a control message of {} bytes", length),
                fmt::format("rank {}", from));
  };
  std::array<char, ControlMessage::kBytesMax> bytes{};
  if (length < 0 || static_cast<size_t>(length) > bytes.size()) return meaningless();
  // Short messages have come whole when they have come.
  TRY_STATUS(check_mpi(MPI_Mrecv(bytes.data(), length, MPI_BYTE, &handle, MPI_STATUS_IGNORE),
                       "MPI_Mrecv"));
  const auto message = decode_control({bytes.data(), static_cast<size_t>(length)});
  if (!message) return meaningless();
  heard(from, now);
  Peer& peer = peers_[from];
  if (message->kind == Kind::kDone) peer.done_since = now;
  if (message->kind == Kind::kHeard) peer.knows = true;
  if (message->kind != Kind::kLeft) return {};
  left_ = true;
  peer.knows = true;
  // Others may be leaving, too, and wait for an answer that nobody would give them any more.
  TRY_STATUS(say_to_all(Kind::kHeard));
  return tl::unexpected(left_error(from, message->error));
}

Status MpiPeers::say(uint32_t rank, Kind kind) {
  // Small enough for MPI to keep a copy: the request is over at once but for an odd case.
  MPI_Request& request = peers_[rank].said;
  if (request != MPI_REQUEST_NULL && !is_over(request)) MPI_Request_free(&request);
  return check_mpi(MPI_Isend(&kinds_[static_cast<size_t>(kind)], 1, MPI_BYTE,
                             static_cast<int>(rank), kControlTag, comm_, &request),
                   "MPI_Isend", fmt::format("rank {}", rank));
}

void MpiPeers::forgive(double now) {
  for_each_other([&](uint32_t rank, Peer&) { heard(rank, now); });
}

Status MpiPeers::beat(double now) {
  if (now < next_beat_) return {};
  next_beat_ = now + beat_seconds_;
  Status status;
  for_each_other([&](uint32_t rank, Peer& peer) {
    if (!status || (peer.beat != MPI_REQUEST_NULL && !is_over(peer.beat))) return;
    status = check_mpi(MPI_Isend(&kinds_[static_cast<size_t>(Kind::kAlive)], 1, MPI_BYTE,
                                 static_cast<int>(rank), kControlTag, comm_, &peer.beat),
                       "MPI_Isend", fmt::format("rank {}", rank));
  });
  return status;
}

std::optional<uint32_t> MpiPeers::lost(double now) {
  for_each_other([&](uint32_t rank, const Peer& peer) {
    if (peer.done_since) heard(rank, now);
  });
  return liveness_.lost(now);
}

Status MpiPeers::say_to_all(Kind kind) {
  Status status;
  for_each_other([&](uint32_t rank, const Peer&) {
    if (status) status = say(rank, kind);
  });
  return status;
}

bool MpiPeers::all_done() const {
  for (uint32_t rank = 0; rank < peers_.size(); ++rank) {
    if (rank != rank_ && !peers_[rank].done_since) return false;
  }
  return true;
}

void MpiPeers::listen() {
  int any = 0;
  MPI_Message handle = MPI_MESSAGE_NULL;
  MPI_Status status;
  const int code = MPI_Improbe(MPI_ANY_SOURCE, kControlTag, comm_, &any, &handle, &status);
  // Who leaves at the same time has a reason as good as ours.
  if (code == MPI_SUCCESS && any != 0) (void)take(handle, status, now_seconds());
}

void MpiPeers::tell(const Error& error) {
  told_ = encode({.kind = Kind::kLeft, .error = error});
  const double begin = now_seconds();
  for_each_other([&](uint32_t rank, Peer& peer) {
    // Not much hope for an answer.
    if (begin - peer.heard > kBeatsMissed * beat_seconds_) peer.knows = true;
    if (peer.said != MPI_REQUEST_NULL && !is_over(peer.said)) MPI_Request_free(&peer.said);
    MPI_Isend(told_.data(), static_cast<int>(told_.size()), MPI_BYTE, static_cast<int>(rank),
              kControlTag, comm_, &peer.said);
  });
  bool all_know = false;
  while (!all_know && now_seconds() < begin + kTellSecondsMax) {
    listen();
    all_know = true;
    for_each_other([&](uint32_t, Peer& peer) { all_know = all_know && peer.knows; });
    ::sched_yield();
  }
}

}  // namespace switchyard
