#include "comm/simulation.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "comm/world_error.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace switchyard {

Simulation::Simulation(uint32_t ranks, const SimulatedOptions& options)
    : ranks_(ranks),
      options_(options),
      prng_(options.seed),
      baton_(ranks),
      seats_(ranks),
      sent_(size_t{ranks} * ranks),
      links_(ranks, options.out_bytes_per_second, options.in_bytes_per_second),
      flows_(ranks),
      transit_(size_t{ranks} * ranks * kChannels),
      reached_last_(transit_.size()),
      arrived_last_(transit_.size()) {
  CHECK_THAT(ranks > 0 && ranks <= kRanksMax, "{} ranks", ranks);
  CHECK(options.latency_min_seconds >= 0);
  CHECK(options.latency_max_seconds >= options.latency_min_seconds);
  CHECK(options.fault.rank < ranks && options.fault.other < ranks);
  for (Seat& seat : seats_) seat.knows_gone.resize(ranks);
}

// --- What happens, and when

void Simulation::add(What what, double at, uint32_t from, uint32_t to) {
  polls_ += what == What::kPolls ? 1 : 0;
  events_.push({at, prng_.next(), what, from, to, 0, 0, 0});
}

void Simulation::note(What what, uint32_t from, uint32_t to, uint64_t value) {
  const uint64_t place = uint64_t{from} << 32 | uint64_t{to} << 8 | static_cast<uint64_t>(what);
  for (const uint64_t word : {std::bit_cast<uint64_t>(now_), place, value}) {
    log_ = Prng(log_ ^ word).next();
  }
  happened_ += 1;
}

void Simulation::go_on(uint32_t rank, double at) {
  seats_[rank].awaited_message = nullptr;
  if (options_.stall_max_seconds > 0) at += prng_.uniform() * options_.stall_max_seconds;
  add(What::kGoesOn, at, rank, rank);
}

void Simulation::start() {
  CHECK_THAT(happened_ == 0, "a simulation runs once");
  for (uint32_t rank = 0; rank < ranks_; ++rank) go_on(rank, 0);
  const SimulatedFault& fault = options_.fault;
  if (fault.kind != Kind::kNone && !fault.is_of_message() && fault.at_message == 0) {
    add(What::kFault, fault.at_seconds, fault.rank, fault.other);
  }
  running_ = next().value();
  baton_.pass(running_);
}

void Simulation::give_way(uint32_t rank) {
  running_ = next().value();  // this rank has not ended
  if (running_ == rank) return;
  baton_.pass(running_);
  baton_.await(rank);
}

void Simulation::end(uint32_t rank) {
  Seat& seat = seats_[rank];
  seat.ended = true;
  seat.finish = now_;
  ended_ += 1;
  fail(rank, {Code::kInternal, "this rank has ended", {}, {}});
  for (uint32_t peer = 0; peer < ranks_; ++peer) {
    if (peer != rank && !seat.left && !seat.lost) add(What::kGone, now_ + latency(), rank, peer);
  }
  const auto following = next();
  if (!following) return;
  running_ = *following;
  baton_.pass(running_);
}

// Lets things happen until a rank goes on; none when all have ended.
std::optional<uint32_t> Simulation::next() {
  while (ended_ < ranks_) {
    const Alarm alarm = first_alarm();
    if (events_.empty() && !alarm.silent) {
      raise_deadlock();
    } else if (events_.empty() || alarm.at <= events_.top().at) {
      now_ = std::max(now_, alarm.at);
      raise(alarm);
    } else {
      const Event event = events_.top();
      events_.pop();
      now_ = event.at;
      if (const auto rank = happen(event)) return rank;
    }
  }
  return std::nullopt;
}

std::optional<uint32_t> Simulation::happen(const Event& event) {
  note(event.what, event.from, event.to, event.flow);
  switch (event.what) {
    case What::kPolls:
      polls_ -= 1;
      return event.to;
    case What::kGoesOn:
      return event.to;
    case What::kReaches: {
      const double at = links_.arrive(event.to, now_, event.last, event.bytes);
      arrived_last_[event.flow] = std::max(arrived_last_[event.flow], at);
      Event arrives = event;
      arrives.what = What::kArrives;
      arrives.at = arrived_last_[event.flow];
      events_.push(arrives);
      break;
    }
    case What::kArrives:
      arrive(event);
      break;
    case What::kTold:
      if (!is_cut(event.from, event.to)) fail(event.to, seats_[event.from].told);
      break;
    case What::kGone:
      if (!is_cut(event.from, event.to)) learn_gone(event.to, event.from);
      break;
    case What::kFault:
      strike();
      break;
  }
  return std::nullopt;
}

// --- Messages

double Simulation::latency() {
  const double range = options_.latency_max_seconds - options_.latency_min_seconds;
  return options_.latency_min_seconds + prng_.uniform() * range;
}

World::Ticket Simulation::begin(uint32_t rank, const Message& message) {
  CHECK_THAT(running_ == rank, "rank {} while {} runs", rank, running_);
  CHECK_THAT(message.peer < ranks_ && message.peer != rank, "rank {}, {}", rank, message.peer);
  Seat& seat = seats_[rank];
  if (seat.error) return World::Ticket{};
  const auto [ticket, mine] = seat.messages.add(message);
  if (message.sends) {
    transmit(rank, *mine);
  } else {
    const uint32_t flow = flows_.index(message.peer, rank, message.channel);
    flows_[flow].posted.push(*mine);
    meet(message.peer, rank, flow);
  }
  return ticket;
}

void Simulation::transmit(uint32_t from, Message& message) {
  Seat& seat = seats_[from];
  const uint32_t to = message.peer;
  sent_[from * ranks_ + to] += message.bytes;
  seat.messages_sent += 1;
  delay_ = 0;
  if (strikes_message(seat)) {
    struck_ = true;
    options_.fault.is_of_message() ? spoil(message) : strike();
  }
  if (seat.error || is_cut(from, to)) return;
  const uint32_t flow = flows_.index(from, to, message.channel);
  transit_[flow].push(message);
  const auto left = links_.depart(from, now_, message.bytes);
  const double way = latency() + delay_;
  reached_last_[flow] = std::max(reached_last_[flow], left.first + way);
  events_.push({reached_last_[flow], prng_.next(), What::kReaches, from, to, flow, left.last + way,
                message.bytes});
}

// The event may be that of a message which has vanished since.
void Simulation::arrive(const Event& event) {
  if (transit_[event.flow].empty()) return;
  flows_[event.flow].sent.push(transit_[event.flow].pop());
  meet(event.from, event.to, event.flow);
}

void Simulation::meet(uint32_t from, uint32_t to, uint32_t flow) {
  const auto pair = flows_[flow].match();
  if (!pair) return;
  const auto& [sent, posted] = *pair;
  carry_over(*sent, *posted);
  const std::span<std::byte> got(posted->target, posted->bytes);
  if (posted->state == Message::State::kOver) {
    if (sent == corrupt_ && !got.empty()) {
      got[prng_.below(got.size())] ^= std::byte{1} << prng_.below(8);
    }
    note(What::kArrives, from, to, hash_bytes(got));
  }
  if (seats_[from].awaited_message == sent) go_on(from, now_);
  if (seats_[to].awaited_message == posted) go_on(to, now_);
}

void Simulation::learn_gone(uint32_t rank, uint32_t gone) {
  Seat& seat = seats_[rank];
  seat.knows_gone[gone] = true;
  const Message* message = seat.awaited_message;
  if (message != nullptr && message->peer == gone) fail(rank, gone_error(gone, *seat.awaited));
}

}  // namespace switchyard
