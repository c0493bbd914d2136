// A rank of the worlds that mpi_world_test.cc starts: mpi_world_program SCENE [SILENCE_SECONDS]
// [FOLDER]. What a rank has to tell goes to standard error, and to FOLDER/rankN when it is over.

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "comm/mpi_world.h"
#include "runtime/base/clock.h"
#include "tests/comm/world_suite.h"

namespace switchyard {
namespace {

std::string folder;

void tell(const World& world, const std::string& text) {
  const std::string line = fmt::format("[{}] {}\n", world.rank(), text);
  std::fputs(line.c_str(), stderr);
  if (!folder.empty()) std::ofstream(folder + fmt::format("/rank{}", world.rank())) << line;
}

void sleep_seconds(double seconds) { sleep_until_seconds(now_seconds() + seconds); }

Status send_byte(World& world, uint32_t to) {
  const std::byte byte{1};
  return world.wait(world.send(to, Channel::kControl, {&byte, 1}), {"a byte", 0});
}

Status receive_byte(World& world, uint32_t from) {
  std::byte byte{};
  return world.wait(world.receive(from, Channel::kControl, {&byte, 1}), {"rows", 3});
}

// All ranks but the last, `odd`, wait for it. The time of the end counts from here.
Status wait_for_last(World& world, const std::function<Status()>& odd) {
  const uint32_t last = world.size() - 1;
  for (uint32_t rank = 0; rank < last; ++rank) {  // all have begun, and the last knows
    if (world.rank() == rank) TRY_STATUS(send_byte(world, last));
    if (world.rank() == last) TRY_STATUS(receive_byte(world, rank));
  }
  const double begin = now_seconds();
  const Status status = world.rank() == last ? odd() : receive_byte(world, last);
  if (!status) tell(world, fmt::format("after {:.1f} s", now_seconds() - begin));
  return status;
}

Status wrong_length(World& world) {
  std::vector<std::byte> bytes(1 << 20);
  return wait_for_last(world, [&]() -> Status {
    return world.wait(world.send(0, Channel::kControl, bytes), {"a send", 0});
  });
}

Status short_length(World& world) {
  return wait_for_last(world, [&]() -> Status {
    return world.wait(world.send(0, Channel::kControl, {}), {"a send", 0});
  });
}

Status leave(World& world) {
  return wait_for_last(world, [&]() -> Status {
    const Error error{Code::kIo, "the drive failed", "expert 5", "another drive"};
    const double begin = now_seconds();
    world.leave(error);
    tell(world, fmt::format("left within {:.3f} s", now_seconds() - begin));
    return receive_byte(world, 0);
  });
}

Status slow(World& world) {
  return wait_for_last(world, [&]() -> Status {
    const double end = now_seconds() + 3.5;
    volatile uint64_t work = 0;
    while (now_seconds() < end) work = work + 1;
    for (uint32_t rank = 0; rank + 1 < world.size(); ++rank) TRY_STATUS(send_byte(world, rank));
    return {};
  });
}

// The last rank ends its world without what the others wait for.
Status early(World& world) {
  return wait_for_last(world, []() -> Status { return {}; });
}

// It ends its world with a message in flight, as a caller does that returns on an error.
Status careless(World& world) {
  static std::vector<std::byte> bytes(100);
  return wait_for_last(world, [&]() -> Status {
    world.receive(0, Channel::kRows, bytes);
    return {};
  });
}

// The others are done long before the last.
Status late_end(World& world) {
  if (world.rank() + 1 == world.size()) sleep_seconds(2.5);
  return {};
}

Status raise_in_last(World& world, int signal) {
  return wait_for_last(world, [&]() -> Status {
    ::raise(signal);
    return receive_byte(world, 0);
  });
}

// The last does not send what the others wait for.
Status ignore(World& world) {
  return wait_for_last(world, [&]() -> Status { return receive_byte(world, 0); });
}

// All ranks are stopped for a while and go on, as under scontrol suspend.
Status suspend(World& world) {
  TRY_STATUS(world_suite::go_round(world, 1));
  ::raise(SIGSTOP);
  return world_suite::go_round(world, 300);
}

// Until somebody else cuts a link.
Status chat(World& world) {
  for (uint32_t round = 0;; ++round) {
    const Status went = world_suite::go_round(world, 1);
    if (!went) return went;
    if (round == 0 && world.rank() == 0) tell(world, "chatting");
    sleep_seconds(0.01);
  }
}

// Seconds from a message to its answer, by rank 0.
Status latency(World& world) {
  for (const size_t bytes : {size_t{8}, size_t{8192}, size_t{1} << 20}) {
    std::vector<std::byte> memory(bytes);
    const uint32_t other = 1 - world.rank();
    const uint32_t rounds = bytes > 100000 ? 300 : 5000;
    double begin = 0;
    for (uint32_t round = 0; round < rounds + 50; ++round) {
      if (round == 50) begin = now_seconds();
      for (uint32_t turn = 0; turn < 2; ++turn) {
        const auto ticket = world.rank() == turn ? world.send(other, Channel::kRows, memory)
                                                 : world.receive(other, Channel::kRows, memory);
        TRY_STATUS(world.wait(ticket, {"rows", 0}));
      }
    }
    const double seconds = (now_seconds() - begin) / rounds / 2;
    if (world.rank() == 0) tell(world, fmt::format("{} B: {:.1f} us", bytes, seconds * 1e6));
  }
  return {};
}

const std::map<std::string, std::function<Status(World&)>>& scenes() {
  static const std::map<std::string, std::function<Status(World&)>> all = {
      {"suite", exchange_suite},
      {"wrong-length", wrong_length},
      {"short-length", short_length},
      {"leave", leave},
      {"slow", slow},
      {"early", early},
      {"careless", careless},
      {"late-end", late_end},
      {"stop", [](World& world) { return raise_in_last(world, SIGSTOP); }},
      {"kill", [](World& world) { return raise_in_last(world, SIGKILL); }},
      {"ignore", ignore},
      {"suspend", suspend},
      {"chat", chat},
      {"latency", latency},
  };
  return all;
}

int run(const std::vector<std::string>& arguments) {
  WorldLimits limits;
  if (arguments.size() > 1) limits.silence_seconds = std::stod(arguments[1]);
  if (arguments.size() > 2) folder = arguments[2];
  limits.wait_seconds = arguments[0] == "ignore" ? 1.5 : 60;
  if (arguments[0] == "suspend") {
    const std::string go_on = fmt::format("(sleep 3; kill -CONT {}) &", ::getpid());
    if (std::system(go_on.c_str()) != 0) return 1;
  }
  auto world = MpiWorld::create(limits);
  if (!world) {
    std::fprintf(stderr, "%s\n", to_line(world.error()).c_str());
    return static_cast<int>(world.error().code);
  }
  const Status status = scenes().at(arguments[0])(**world);
  tell(**world, status ? "good" : to_line(status.error()));
  const double begin = now_seconds();
  const uint32_t rank = (*world)->rank();
  world->reset();
  std::fprintf(stderr, "[%u] ended within %.3f s\n", rank, now_seconds() - begin);
  if (status) return 0;
  sleep_seconds(0.6);  // mpirun ends all ranks when the first has failed: let them speak
  return static_cast<int>(status.error().code);
}

}  // namespace
}  // namespace switchyard

int main(int argc, char** argv) { return switchyard::run({argv + 1, argv + argc}); }
