#include "comm/simulated_world.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <ostream>
#include <set>
#include <string>
#include <string_view>

#include "tests/comm/traffic.h"

namespace switchyard {
namespace {

using testing::AnyOf;
using testing::StartsWith;
using Kind = SimulatedFault::Kind;

constexpr bool kSanitized = std::string_view(SWITCHYARD_SANITIZE).size() > 0;
constexpr uint64_t kSchedules = kSanitized ? 100 : 600;

struct Outcome {
  std::vector<TrafficEnd> ends;
  uint64_t log_hash = 0, events = 0;
  std::vector<double> finish = {};
};

// One schedule; a rank whose messages fail says so to the others if `tells`.
Outcome run_schedule(uint32_t ranks, const Traffic& traffic, const SimulatedOptions& options,
                     bool tells = false) {
  SimulatedHub hub(ranks, options);
  Outcome outcome{.ends = std::vector<TrafficEnd>(ranks)};
  hub.run([&](SimulatedWorld& world) {
    TrafficEnd& end = outcome.ends[world.rank()];
    end = run_traffic(world, traffic);
    if (!end.status && tells) world.leave(end.status.error());
  });
  outcome.log_hash = hub.log_hash();
  outcome.events = hub.events();
  for (uint32_t rank = 0; rank < ranks; ++rank) outcome.finish.push_back(hub.finish_seconds(rank));
  return outcome;
}

std::vector<std::byte> filled(size_t bytes, uint8_t value = 7) {
  return std::vector<std::byte>(bytes, std::byte{value});
}

std::string line_of(const Status& status) { return status ? "" : to_line(status.error()); }

TEST(SimulatedWorld, CarriesEveryByteInEveryOrder) {
  for (uint64_t seed = 0; seed < kSchedules / 4; ++seed) {
    const uint32_t ranks = std::vector<uint32_t>{2, 3, 5, 8}[seed % 4];
    const SimulatedOptions options{.seed = seed,
                                   .latency_min_seconds = 0,
                                   .latency_max_seconds = seed % 3 == 0 ? 0 : 1e-3,
                                   .out_bytes_per_second = seed % 5 == 0 ? 1e6 : 0,
                                   .in_bytes_per_second = seed % 7 == 0 ? 1e6 : 0,
                                   .stall_max_seconds = seed % 2 == 0 ? 0 : 1e-4};
    for (const TrafficEnd& end :
         run_schedule(ranks, {.seed = seed, .messages = 8 * ranks}, options).ends) {
      ASSERT_TRUE(end.status) << line_of(end.status);
      EXPECT_EQ(end.wrong, 0U) << "seed " << seed;
    }
  }
}

TEST(SimulatedWorld, TheSameSeedIsTheSameSchedule) {
  const Traffic traffic{.seed = 1, .messages = 20};
  std::set<uint64_t> hashes;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    const Outcome once = run_schedule(4, traffic, {.seed = seed});
    const Outcome again = run_schedule(4, traffic, {.seed = seed});
    EXPECT_EQ(once.log_hash, again.log_hash);
    EXPECT_EQ(once.events, again.events);
    EXPECT_EQ(once.finish, again.finish);
    hashes.insert(once.log_hash);
  }
  EXPECT_EQ(hashes.size(), 30U) << "another seed is another schedule";
}

TEST(SimulatedWorld, ChannelsOvertakeEachOtherAndKeepTheirOrder) {
  std::set<bool> firsts;
  for (uint64_t seed = 0; seed < 30; ++seed) {
    SimulatedHub hub(2, {.seed = seed});
    hub.run([&](SimulatedWorld& world) {
      const auto first = filled(1, 1), second = filled(1, 2), other = filled(1, 3);
      auto a = filled(1, 0), b = a, c = a;
      if (world.rank() == 0) {
        const auto one = world.send(1, Channel::kRows, first);
        const auto two = world.send(1, Channel::kRows, second);
        const auto three = world.send(1, Channel::kCounts, other);
        for (const auto ticket : {one, two, three}) EXPECT_TRUE(world.wait(ticket, {"rows"}));
        return;
      }
      const auto one = world.receive(0, Channel::kRows, a);
      const auto two = world.receive(0, Channel::kRows, b);
      const auto three = world.receive(0, Channel::kCounts, c);
      EXPECT_TRUE(world.wait(one, {"rows"}));
      const bool over = world.poll(three).value();
      firsts.insert(over);
      EXPECT_TRUE(over || world.wait(three, {"counts"}));
      EXPECT_TRUE(world.wait(two, {"rows"}));
      EXPECT_EQ(a, first);
      EXPECT_EQ(b, second);
      EXPECT_EQ(c, other);
    });
  }
  EXPECT_EQ(firsts.size(), 2U);
}

// --- Rates

double seconds_of(uint32_t ranks, const SimulatedOptions& options, uint32_t from_count,
                  uint32_t to_count) {
  SimulatedHub hub(ranks, options);
  hub.run([&](SimulatedWorld& world) {
    auto bytes = filled(1'000'000);
    for (uint32_t from = 0; from < from_count; ++from) {
      std::vector<World::Ticket> tickets;
      for (uint32_t to = ranks - to_count; to < ranks; ++to) {
        if (world.rank() == from) tickets.push_back(world.send(to, Channel::kRows, bytes));
        if (world.rank() == to) tickets.push_back(world.receive(from, Channel::kRows, bytes));
      }
      for (const auto ticket : tickets) EXPECT_TRUE(world.wait(ticket, {"rows"}));
    }
  });
  EXPECT_EQ(hub.bytes_sent(0, ranks - 1), 1'000'000U);
  EXPECT_EQ(hub.bytes_sent(ranks - 1, 0), 0U);
  return hub.finish_seconds(ranks - 1);
}

TEST(SimulatedWorld, LinksTakeTheirTime) {
  const double rate = 100e6 / 8, latency = 2e-3;
  SimulatedOptions out{.latency_min_seconds = latency, .latency_max_seconds = latency};
  EXPECT_NEAR(seconds_of(2, out, 1, 1), latency, 1e-12);
  out.out_bytes_per_second = rate;
  SimulatedOptions in = out;
  std::swap(in.in_bytes_per_second, in.out_bytes_per_second);
  SimulatedOptions both = out;
  both.in_bytes_per_second = rate;
  EXPECT_NEAR(seconds_of(2, out, 1, 1), 0.08 + latency, 1e-9);
  EXPECT_NEAR(seconds_of(2, in, 1, 1), 0.08 + latency, 1e-9);
  EXPECT_NEAR(seconds_of(2, both, 1, 1), 0.08 + latency, 1e-9) << "both at once";
  EXPECT_NEAR(seconds_of(3, out, 1, 2), 0.16 + latency, 1e-9) << "two share a link out";
  EXPECT_NEAR(seconds_of(3, in, 1, 2), 0.08 + latency, 1e-9);
}

TEST(SimulatedWorld, TwoSendersShareALinkIn) {
  for (const bool out : {false, true}) {
    SimulatedOptions options{.latency_min_seconds = 0, .latency_max_seconds = 0};
    (out ? options.out_bytes_per_second : options.in_bytes_per_second) = 1e6;
    SimulatedHub hub(3, options);
    hub.run([&](SimulatedWorld& world) {
      auto a = filled(1'000'000), b = a;
      if (world.rank() < 2) {
        EXPECT_TRUE(world.wait(world.send(2, Channel::kRows, a), {"rows"}));
        return;
      }
      const auto one = world.receive(0, Channel::kRows, a);
      EXPECT_TRUE(world.wait(world.receive(1, Channel::kRows, b), {"rows"}));
      EXPECT_TRUE(world.wait(one, {"rows"}));
    });
    EXPECT_NEAR(hub.finish_seconds(2), out ? 1 : 2, 1e-9);
  }
}

TEST(SimulatedWorld, WorkTakesTheTimeItSaysAndHidesTransfers) {
  SimulatedHub hub(2, {.latency_min_seconds = 1, .latency_max_seconds = 1});
  hub.run([](SimulatedWorld& world) {
    auto bytes = filled(10);
    const auto ticket = world.rank() == 0 ? world.send(1, Channel::kRows, bytes)
                                          : world.receive(0, Channel::kRows, bytes);
    world.spend(world.rank() == 0 ? 0.25 : 5);
    EXPECT_EQ(world.now_seconds(), world.rank() == 0 ? 0.25 : 5);
    EXPECT_TRUE(world.wait(ticket, {"rows"}));
  });
  EXPECT_EQ(hub.finish_seconds(0), 1);
  EXPECT_EQ(hub.finish_seconds(1), 5);
}

// --- Ends of waits

// Rank 1 of two waits for rows of rank 0, which does `body`.
std::string wait_of_rank_1(const SimulatedOptions& options,
                           const std::function<void(SimulatedWorld&)>& body) {
  SimulatedHub hub(2, options);
  std::string line;
  hub.run([&](SimulatedWorld& world) {
    if (world.rank() == 0) return body(world);
    auto bytes = filled(4);
    line = line_of(world.wait(world.receive(0, Channel::kRows, bytes), {"rows", 3}));
    EXPECT_FALSE(world.poll(world.send(0, Channel::kRows, bytes))) << "it fails for good";
  });
  return line;
}

TEST(SimulatedWorld, ADeadlockIsNamed) {
  const std::string line = wait_of_rank_1({}, [](SimulatedWorld& world) {
    const auto bytes = filled(4);
    const Status status = world.wait(world.send(1, Channel::kCounts, bytes), {"counts"});
    ASSERT_FALSE(status);
    EXPECT_EQ(status.error().code, Code::kInternal);
    EXPECT_EQ(line_of(status), "rank 1: deadlock, nobody can go on: waiting for counts to rank 1");
  });
  EXPECT_EQ(line, "rank 0: deadlock, nobody can go on: waiting for rows of layer 3 from rank 0");
}

TEST(SimulatedWorld, AWaitMayTakeTooLong) {
  EXPECT_EQ(wait_of_rank_1({}, [](SimulatedWorld& world) { world.spend(1000); }),
            "rank 0: nothing after 600 s while waiting for rows of layer 3");
}

TEST(SimulatedWorld, ARankThatEndedOrLeftIsNamed) {
  EXPECT_EQ(wait_of_rank_1({}, [](SimulatedWorld&) {}),
            "rank 0: left while this rank waited for rows of layer 3");
  EXPECT_EQ(wait_of_rank_1({},
                           [](SimulatedWorld& world) {
                             world.leave({Code::kIo, "cannot read", "expert 7", {}});
                           }),
            "rank 0: expert 7: cannot read");
}

TEST(SimulatedWorld, WhoOnlyPollsLearnsOfALossToo) {
  SimulatedHub hub(2, {.fault = {.kind = Kind::kLoseRank}});
  hub.run([](SimulatedWorld& world) {
    auto bytes = filled(4);
    const auto ticket = world.receive(1 - world.rank(), Channel::kRows, bytes);
    Result<bool> over = false;
    while (over && !*over) over = world.poll(ticket);
    ASSERT_FALSE(over);
    EXPECT_THAT(to_line(over.error()), StartsWith("rank 0: "));
  });
}

TEST(SimulatedWorld, WhoOnlyPollsLearnsOfADeadlockToo) {
  SimulatedHub hub(3, {});
  hub.run([](SimulatedWorld& world) {
    auto bytes = filled(4);
    const uint32_t from = (world.rank() + 1) % 3;
    const auto ticket = world.receive(from, Channel::kRows, bytes);
    Result<bool> over = false;
    while (over && !*over) over = world.poll(ticket);
    ASSERT_FALSE(over);
    EXPECT_THAT(to_line(over.error()),
                AnyOf("rank " + std::to_string(from) +
                          ": deadlock, nobody can go on: waiting for a message from rank " +
                          std::to_string(from),
                      "rank " + std::to_string(from) + ": left"));
  });
}

// --- Faults

struct FaultCase {
  const char* name;
  Kind kind;
  std::vector<const char*> lines;  // what a rank may fail with
};

void PrintTo(const FaultCase& fault_case, std::ostream* out) { *out << fault_case.name; }

class Faults : public testing::TestWithParam<FaultCase> {};

SimulatedOptions draw_fault(Kind kind, uint64_t seed, uint32_t ranks) {
  Prng prng(seed * 31 + static_cast<uint64_t>(kind));
  SimulatedOptions options{.seed = seed, .limits = {.silence_seconds = 0.05}};
  if (prng.below(2) == 0) options.stall_max_seconds = 1e-3;
  SimulatedFault& fault = options.fault;
  fault.kind = kind;
  fault.rank = static_cast<uint32_t>(prng.below(ranks));
  fault.other = static_cast<uint32_t>((fault.rank + 1 + prng.below(ranks - 1)) % ranks);
  if (prng.below(2) == 0) {
    fault.at_message = 1 + prng.below(20);
  } else {
    fault.at_seconds = prng.uniform() * 0.01;
  }
  fault.delay_seconds = prng.below(2) == 0 ? 0.1 : 1e4;
  fault.error = {Code::kIo, "cannot read", "expert 7", {}};
  return options;
}

// Whether an error is one of the case's, about a rank that the fault strikes.
bool is_expected(const FaultCase& fault_case, const SimulatedFault& fault,
                 const std::string& line) {
  for (const char* text : fault_case.lines) {
    for (const uint32_t rank : {fault.rank, fault.other}) {
      if (rank == fault.other && fault.kind != Kind::kCutLink) continue;
      if (line.find(fmt::format(fmt::runtime(text), rank)) != std::string::npos) return true;
    }
  }
  return line.find(": left") != std::string::npos;  // a rank that failed before
}

// Whatever happens when, each rank ends with the right bytes or an error that names a rank.
TEST_P(Faults, GiveTheRightBytesOrANamedError) {
  const Kind kind = GetParam().kind;
  uint64_t whole = 0, failed = 0, wrong = 0;
  for (uint64_t seed = 0; seed < kSchedules; ++seed) {
    const uint32_t ranks = 2 + seed % 3;
    const SimulatedOptions options = draw_fault(kind, seed, ranks);
    const Traffic traffic{.seed = seed, .rounds = 3, .messages = 6 * ranks};
    for (const TrafficEnd& end : run_schedule(ranks, traffic, options, seed % 2 == 0).ends) {
      wrong += end.wrong;
      (end.status ? whole : failed) += 1;
      const std::string line = line_of(end.status);
      EXPECT_TRUE(end.status || is_expected(GetParam(), options.fault, line))
          << "seed " << seed << ": " << line;
    }
  }
  EXPECT_EQ(failed > 0, kind != Kind::kNone && kind != Kind::kCorruptByte);
  EXPECT_GT(whole, 0U);
  if (kind == Kind::kCorruptByte) {
    EXPECT_GT(wrong, kSchedules / 3);
    EXPECT_LE(wrong, kSchedules) << "one message each";
  } else {
    EXPECT_EQ(wrong, 0U);
  }
}

INSTANTIATE_TEST_SUITE_P(
    SimulatedWorld, Faults,
    testing::Values(
        FaultCase{"None", Kind::kNone, {}},
        FaultCase{"LoseRank", Kind::kLoseRank, {"rank {}: silent for 0.05 s", "rank {}: lost, as"}},
        FaultCase{"CutLink", Kind::kCutLink, {"rank {}: silent for 0.05 s"}},
        FaultCase{"DelayMessage", Kind::kDelayMessage, {": nothing after 600 s"}},
        FaultCase{"WrongLength", Kind::kWrongLength, {"rank {}: a message of "}},
        FaultCase{"CorruptByte", Kind::kCorruptByte, {}},
        FaultCase{"Leave", Kind::kLeave, {"expert 7: cannot read"}}),
    [](const auto& info) { return info.param.name; });

}  // namespace
}  // namespace switchyard
