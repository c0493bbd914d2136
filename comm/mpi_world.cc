#include "comm/mpi_world.h"

#include <fmt/format.h>
#include <signal.h>

#include <array>
#include <chrono>
#include <future>
#include <limits>
#include <utility>

#include "comm/handover.h"
#include "comm/mpi_calls.h"
#include "comm/mpi_link.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"

namespace switchyard {

namespace {

constexpr double kLeaveSecondsMax = 1;  // little more than telling the others takes
constexpr double kStallSeconds = 5;     // no call of MPI that this program makes takes as long
constexpr double kFailedStallSeconds = 0.5;

struct Shape {
  uint32_t rank = 0, size = 0;
};

// Signals are for the threads of the program proper.
void block_signals() {
  sigset_t set;
  ::sigfillset(&set);
  for (const int fault : {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT}) ::sigdelset(&set, fault);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
}

}  // namespace

struct MpiWorld::Shared {
  explicit Shared(const WorldLimits& world_limits) : limits(world_limits) {}

  void communicate() {
    block_signals();
    auto link = MpiLink::open(limits);
    if (!link) {
      opened.set_value(tl::unexpected(std::move(link).error()));
      return;
    }
    opened.set_value(Shape{(*link)->rank(), (*link)->size()});
    if (const Status served = (*link)->serve(handover)) {
      (*link)->finalise();
    } else {
      handover.fail(served.error());
    }
    handover.close();
  }

  const WorldLimits limits;
  Handover handover;
  std::promise<Result<Shape>> opened;
};

MpiWorld::MpiWorld(uint32_t rank, uint32_t size, std::shared_ptr<Shared> shared, std::thread thread)
    : World(rank, size), shared_(std::move(shared)), thread_(std::move(thread)) {}

Result<std::unique_ptr<World>> MpiWorld::create(const WorldLimits& limits) {
  auto shared = std::make_shared<Shared>(limits);
  auto opened = shared->opened.get_future();
  std::thread thread([shared] { shared->communicate(); });
  const auto patience = std::chrono::duration<double>(limits.wait_seconds);
  if (opened.wait_for(patience) != std::future_status::ready) {
    thread.detach();
    return fail(Code::kUnavailable,
                fmt::format("not all ranks have begun after {:.4g} s", limits.wait_seconds));
  }
  const Result<Shape> shape = opened.get();
  if (!shape) {
    thread.join();
    return tl::unexpected(shape.error());
  }
  return std::unique_ptr<World>(
      new MpiWorld(shape->rank, shape->size, std::move(shared), std::move(thread)));
}

MpiWorld::~MpiWorld() {
  const bool failed = shared_->handover.failure().has_value();
  if (shared_->handover.end(failed ? kFailedStallSeconds : kStallSeconds)) {
    thread_.join();
  } else {
    thread_.detach();  // it is inside MPI
  }
}

World::Ticket MpiWorld::post(const Message& message) {
  CHECK_THAT(message.peer < size() && message.peer != rank(), "rank {} of {} and rank {}", rank(),
             size(), message.peer);
  CHECK_THAT(message.bytes <= static_cast<size_t>(std::numeric_limits<int>::max()), "{} bytes",
             message.bytes);
  const auto [ticket, place] = tickets_.add(message);
  shared_->handover.post(*place);
  return ticket;
}

World::Ticket MpiWorld::send(uint32_t to, Channel channel, std::span<const std::byte> bytes) {
  return post({.peer = to,
               .sends = true,
               .channel = channel,
               .source = bytes.data(),
               .bytes = bytes.size()});
}

World::Ticket MpiWorld::receive(uint32_t from, Channel channel, std::span<std::byte> bytes) {
  return post({.peer = from,
               .sends = false,
               .channel = channel,
               .target = bytes.data(),
               .bytes = bytes.size()});
}

Result<bool> MpiWorld::poll(Ticket ticket) {
  if (const auto error = shared_->handover.failure()) return tl::unexpected(*error);
  if (!shared_->handover.is_over(tickets_.at(ticket))) return false;
  tickets_.spend(ticket);
  return true;
}

Status MpiWorld::wait(Ticket ticket, const Awaited& awaited) {
  TRY_STATUS(shared_->handover.wait(tickets_.at(ticket), awaited, kStallSeconds));
  tickets_.spend(ticket);
  return {};
}

void MpiWorld::leave(const Error& error) { shared_->handover.leave(error, kLeaveSecondsMax); }

double MpiWorld::now_seconds() const { return switchyard::now_seconds(); }

std::string mpi_version() {
  std::array<char, MPI_MAX_LIBRARY_VERSION_STRING> text{};
  int length = 0;
  MPI_Get_library_version(text.data(), &length);
  return {text.data(), static_cast<size_t>(length)};
}

}  // namespace switchyard
