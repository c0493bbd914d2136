#include "comm/loopback_world.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <optional>
#include <utility>

#include "comm/in_flight.h"
#include "comm/world_error.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"

namespace switchyard {

namespace {

using Clock = std::chrono::steady_clock;
constexpr double kForeverSeconds = 1e8;  // what a clock of nanoseconds can surely add

// One rank, as the others see it.
struct Seat {
  std::condition_variable changed;
  TicketTable messages;
  std::optional<Error> error;  // with which all its calls fail
  bool gone = false;
};

struct Hub {
  Hub(uint32_t ranks, const WorldLimits& world_limits)
      : limits(world_limits), flows(ranks), seats(ranks) {}

  const WorldLimits limits;
  std::mutex mutex;  // of everything below, and of the bytes of every message in flight
  Flows flows;
  std::vector<Seat> seats;
  std::optional<Error> left;  // with which the first rank left, as the others are told
  uint32_t left_rank = 0;
};

class LoopbackWorld final : public World {
 public:
  LoopbackWorld(uint32_t rank, uint32_t size, std::shared_ptr<Hub> hub)
      : World(rank, size), hub_(std::move(hub)), seat_(hub_->seats[rank]) {}
  ~LoopbackWorld() override;

  Ticket send(uint32_t to, Channel channel, std::span<const std::byte> bytes) override;
  Ticket receive(uint32_t from, Channel channel, std::span<std::byte> bytes) override;
  Result<bool> poll(Ticket ticket) override;
  Status wait(Ticket ticket, const Awaited& awaited) override;
  void leave(const Error& error) override;
  double now_seconds() const override { return switchyard::now_seconds(); }

 private:
  // All of these with the hub's mutex held.
  std::optional<Error> failure(const Message& message, const Awaited& awaited) const;
  Result<bool> look(Ticket ticket, const Awaited& awaited);
  tl::unexpected<Error> fail_for_good(Error error);
  void meet(Flow& flow, uint32_t peer);
  void tell_all();

  const std::shared_ptr<Hub> hub_;
  Seat& seat_;
};

LoopbackWorld::~LoopbackWorld() {
  const std::lock_guard lock(hub_->mutex);
  seat_.gone = true;
  hub_->flows.drop(rank());
  tell_all();
}

void LoopbackWorld::tell_all() {
  for (Seat& seat : hub_->seats) seat.changed.notify_one();
}

void LoopbackWorld::meet(Flow& flow, uint32_t peer) {
  const auto pair = flow.match();
  if (!pair) return;
  carry_over(*pair->first, *pair->second);
  hub_->seats[peer].changed.notify_one();
}

World::Ticket LoopbackWorld::send(uint32_t to, Channel channel, std::span<const std::byte> bytes) {
  CHECK_THAT(to < size() && to != rank(), "rank {} to {}", rank(), to);
  const std::lock_guard lock(hub_->mutex);
  if (seat_.error) return Ticket{};
  const auto [ticket, message] = seat_.messages.add({.peer = to,
                                                     .sends = true,
                                                     .channel = channel,
                                                     .source = bytes.data(),
                                                     .bytes = bytes.size()});
  Flow& flow = hub_->flows[hub_->flows.index(rank(), to, channel)];
  flow.sent.push(*message);
  meet(flow, to);
  return ticket;
}

World::Ticket LoopbackWorld::receive(uint32_t from, Channel channel, std::span<std::byte> bytes) {
  CHECK_THAT(from < size() && from != rank(), "rank {} from {}", rank(), from);
  const std::lock_guard lock(hub_->mutex);
  if (seat_.error) return Ticket{};
  const auto [ticket, message] = seat_.messages.add(
      {.peer = from, .channel = channel, .target = bytes.data(), .bytes = bytes.size()});
  Flow& flow = hub_->flows[hub_->flows.index(from, rank(), channel)];
  flow.posted.push(*message);
  meet(flow, from);
  return ticket;
}

// A rank that left with an error ends everybody's work; one that is merely gone, that of those who
// still want something from it.
std::optional<Error> LoopbackWorld::failure(const Message& message, const Awaited& awaited) const {
  if (hub_->left && hub_->left_rank != rank()) return hub_->left;
  switch (message.state) {
    case Message::State::kOver:
      return std::nullopt;
    case Message::State::kWrongLength:
      return length_error(message.peer, message.bytes, message.bytes_came, awaited);
    case Message::State::kInFlight:
      break;
  }
  if (hub_->seats[message.peer].gone) return gone_error(message.peer, awaited);
  return std::nullopt;
}

tl::unexpected<Error> LoopbackWorld::fail_for_good(Error error) {
  hub_->flows.drop(rank());
  seat_.error = std::move(error);
  return tl::unexpected(*seat_.error);
}

Result<bool> LoopbackWorld::look(Ticket ticket, const Awaited& awaited) {
  if (seat_.error) return tl::unexpected(*seat_.error);
  Message& message = seat_.messages.at(ticket);
  if (auto error = failure(message, awaited)) return fail_for_good(*std::move(error));
  if (message.state == Message::State::kInFlight) return false;
  seat_.messages.spend(ticket);
  return true;
}

Result<bool> LoopbackWorld::poll(Ticket ticket) {
  const std::lock_guard lock(hub_->mutex);
  return look(ticket, {});
}

Status LoopbackWorld::wait(Ticket ticket, const Awaited& awaited) {
  const double seconds = awaited.patient ? kForeverSeconds : hub_->limits.wait_seconds;
  const auto deadline =
      Clock::now() + std::chrono::duration_cast<Clock::duration>(
                         std::chrono::duration<double>(std::min(seconds, kForeverSeconds)));
  std::unique_lock lock(hub_->mutex);
  bool late = false;
  while (!TRY(look(ticket, awaited))) {
    if (late) {
      return fail_for_good(late_error(seat_.messages.at(ticket).peer, seconds, awaited));
    }
    late = seat_.changed.wait_until(lock, deadline) == std::cv_status::timeout;
  }
  return {};
}

void LoopbackWorld::leave(const Error& error) {
  const std::lock_guard lock(hub_->mutex);
  if (!hub_->left) {
    hub_->left = left_error(rank(), error);
    hub_->left_rank = rank();
  }
  hub_->flows.drop(rank());
  if (!seat_.error) seat_.error = error;
  tell_all();
}

}  // namespace

std::vector<std::unique_ptr<World>> make_loopback(uint32_t ranks, const WorldLimits& limits) {
  CHECK_THAT(ranks > 0 && ranks <= kRanksMax, "{} ranks", ranks);
  const auto hub = std::make_shared<Hub>(ranks, limits);
  std::vector<std::unique_ptr<World>> worlds;
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    worlds.push_back(std::make_unique<LoopbackWorld>(rank, ranks, hub));
  }
  return worlds;
}

}  // namespace switchyard
