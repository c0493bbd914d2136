// How the waits of a simulated rank end, and what goes wrong.

#include <fmt/format.h>

#include <cmath>
#include <utility>

#include "comm/simulation.h"
#include "comm/world_error.h"
#include "runtime/base/check.h"

namespace switchyard {

namespace {

// What a poll in vain takes, so that time passes for those who do nothing but poll; when nothing
// but polls has happened for so many of them, time passes ever faster.
constexpr double kPollSeconds = 1e-6;
constexpr uint64_t kIdlePollsMax = 10'000;

}  // namespace

// From here on nothing of the rank is in flight; what it waits for is over.
void Simulation::fail(uint32_t rank, Error error) {
  Seat& seat = seats_[rank];
  if (seat.error) return;
  flows_.drop(rank);
  for (uint32_t peer = 0; peer < ranks_; ++peer) {
    const uint32_t first = flows_.index(rank, peer, Channel{});
    for (uint32_t channel = 0; channel < kChannels; ++channel) transit_[first + channel].clear();
  }
  seat.error = std::move(error);
  if (seat.awaited_message != nullptr) go_on(rank, now_);
}

Result<bool> Simulation::look(uint32_t rank, World::Ticket ticket, const Awaited& awaited) {
  Seat& seat = seats_[rank];
  if (seat.error) return tl::unexpected(*seat.error);
  const Message& message = seat.messages.at(ticket);
  if (message.state == Message::State::kOver) {
    seat.messages.spend(ticket);
    return true;
  }
  if (message.state == Message::State::kWrongLength) {
    fail(rank, length_error(message.peer, message.bytes, message.bytes_came, awaited));
  } else if (seat.knows_gone[message.peer]) {
    fail(rank, gone_error(message.peer, awaited));
  }
  if (seat.error) return tl::unexpected(*seat.error);
  return false;
}

Status Simulation::wait(uint32_t rank, World::Ticket ticket, const Awaited& awaited) {
  CHECK_THAT(running_ == rank, "rank {} while {} runs", rank, running_);
  Seat& seat = seats_[rank];
  const double since = now_;
  while (!TRY(look(rank, ticket, awaited))) {
    seat.awaited_message = &seat.messages.at(ticket);
    seat.awaited = &awaited;
    seat.waits_since = since;
    give_way(rank);
  }
  return {};
}

double Simulation::poll_seconds() {
  idle_polls_ = events_.size() == polls_ ? idle_polls_ + 1 : 0;
  if (idle_polls_ <= kIdlePollsMax) return kPollSeconds;
  return std::ldexp(kPollSeconds, static_cast<int>(idle_polls_ - kIdlePollsMax));
}

Result<bool> Simulation::poll(uint32_t rank, World::Ticket ticket) {
  CHECK_THAT(running_ == rank, "rank {} while {} runs", rank, running_);
  if (TRY(look(rank, ticket, {}))) return true;
  for (uint32_t of = 0; of < ranks_; ++of) {
    if (now_ < silent_since(rank, of) + options_.limits.silence_seconds) continue;
    fail(rank, silent_error(of, options_.limits.silence_seconds, {}));
  }
  const double seconds = poll_seconds();
  if (seconds > options_.limits.wait_seconds) {
    const Message& message = seats_[rank].messages.at(ticket);
    fail(rank, deadlock_error(message.peer, message.sends, {"a message"}));
  }
  if (!seats_[rank].error) {
    add(What::kPolls, now_ + seconds, rank, rank);
    give_way(rank);
  }
  return look(rank, ticket, {});
}

void Simulation::spend(uint32_t rank, double seconds) {
  CHECK_THAT(running_ == rank && seconds >= 0, "rank {}, {} s", rank, seconds);
  if (seats_[rank].error) return;
  add(What::kGoesOn, now_ + seconds, rank, rank);
  give_way(rank);
}

void Simulation::leave(uint32_t rank, const Error& error) {
  Seat& seat = seats_[rank];
  if (seat.lost || seat.left) return;
  seat.left = true;
  seat.told = left_error(rank, error);
  fail(rank, error);
  for (uint32_t peer = 0; peer < ranks_; ++peer) {
    if (peer != rank) add(What::kTold, now_ + latency(), rank, peer);
  }
}

Simulation::Alarm Simulation::first_alarm() const {
  Alarm first;
  for (uint32_t rank = 0; rank < ranks_; ++rank) {
    const Seat& seat = seats_[rank];
    if (seat.awaited_message == nullptr) continue;
    const double deadline = seat.waits_since + options_.limits.wait_seconds;
    if (!seat.awaited->patient && deadline < first.at) first = {deadline, rank, std::nullopt};
    if (struck_at_ == kNever) continue;
    for (uint32_t of = 0; of < ranks_; ++of) {
      const double silent = silent_since(rank, of) + options_.limits.silence_seconds;
      if (silent < first.at) first = {silent, rank, of};
    }
  }
  return first;
}

void Simulation::raise(const Alarm& alarm) {
  const Seat& seat = seats_[alarm.rank];
  const WorldLimits& limits = options_.limits;
  fail(alarm.rank,
       alarm.silent ? silent_error(*alarm.silent, limits.silence_seconds, *seat.awaited)
                    : late_error(seat.awaited_message->peer, limits.wait_seconds, *seat.awaited));
}

// Whoever has not ended waits.
void Simulation::raise_deadlock() {
  const size_t before = events_.size();
  for (uint32_t rank = 0; rank < ranks_; ++rank) {
    const Seat& seat = seats_[rank];
    if (seat.awaited_message == nullptr) continue;
    const Message& message = *seat.awaited_message;
    fail(rank, deadlock_error(message.peer, message.sends, *seat.awaited));
  }
  CHECK(events_.size() > before);
}

// --- The fault

bool Simulation::strikes_message(const Seat& seat) const {
  const SimulatedFault& fault = options_.fault;
  if (struck_ || fault.kind == Kind::kNone || &seat != &seats_[fault.rank]) return false;
  if (fault.at_message > 0) return seat.messages_sent == fault.at_message;
  return fault.is_of_message() && now_ >= fault.at_seconds;
}

void Simulation::spoil(Message& message) {
  static constexpr std::byte kTooMuch{0};
  switch (options_.fault.kind) {
    case Kind::kDelayMessage:
      delay_ = options_.fault.delay_seconds;
      break;
    case Kind::kCorruptByte:
      corrupt_ = &message;
      break;
    default:
      if (message.bytes == 0) message.source = &kTooMuch;
      message.bytes = message.bytes == 0 ? 1 : message.bytes - 1;
      break;
  }
}

void Simulation::strike() {
  const SimulatedFault& fault = options_.fault;
  Seat& seat = seats_[fault.rank];
  struck_ = true;
  if (seat.ended) return;
  switch (fault.kind) {
    case Kind::kLoseRank:
      struck_at_ = now_;
      seat.lost = true;
      fail(fault.rank, {Code::kUnavailable,
                        "lost, as the simulation was asked to",
                        fmt::format("rank {}", fault.rank),
                        {}});
      break;
    case Kind::kCutLink:
      struck_at_ = now_;
      for (uint32_t channel = 0; channel < kChannels; ++channel) {
        transit_[flows_.index(fault.rank, fault.other, Channel{}) + channel].clear();
        transit_[flows_.index(fault.other, fault.rank, Channel{}) + channel].clear();
      }
      break;
    default:
      leave(fault.rank, fault.error);
      break;
  }
}

bool Simulation::is_cut(uint32_t a, uint32_t b) const {
  const SimulatedFault& fault = options_.fault;
  if (fault.kind != Kind::kCutLink || struck_at_ == kNever) return false;
  return (a == fault.rank && b == fault.other) || (a == fault.other && b == fault.rank);
}

double Simulation::silent_since(uint32_t rank, uint32_t of) const {
  const bool silent = seats_[of].lost || (is_cut(rank, of) && !seats_[rank].knows_gone[of]);
  return silent && rank != of ? struck_at_ : kNever;
}

}  // namespace switchyard
