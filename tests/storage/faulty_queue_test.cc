#include "storage/faulty_queue.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <memory>
#include <vector>

#include "runtime/base/align.h"
#include "storage/rated_queue.h"

namespace switchyard {
namespace {

TEST(ParseFaults, KindsAndRates) {
  const FaultMix all = *parse_faults("7");
  EXPECT_EQ(all.seed, 7u);
  EXPECT_GT(all.io_error, 0);
  EXPECT_GT(all.delay, 0);
  const FaultMix some = *parse_faults("3,eio=0.5,bit-flip");
  EXPECT_EQ(some.io_error, 0.5);
  EXPECT_GT(some.bit_flip, 0);
  EXPECT_EQ(some.short_read, 0);
}

TEST(ParseFaults, Refused) {
  for (const char* bad : {"", "x", "1,", "1,fire", "1,eio=2", "1,eio=", "1,eio=0.1x", "-1"}) {
    const auto mix = parse_faults(bad);
    ASSERT_FALSE(mix) << bad;
    EXPECT_EQ(mix.error().code, Code::kUsage);
  }
}

// What becomes of 400 reads of zeros at `places` in turn, eight in flight, on a drive that is
// always done.
struct Outcome {
  int errors = 0, ends = 0, flips = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome outcome_of(const FaultMix& mix, uint64_t places = 400) {
  double now = 0;
  DriveModel model{.bytes_per_second = 1e12};
  model.now_seconds = [&] { return now; };
  model.sleep_until = [&](double until) { now = std::max(now, until); };
  FaultyQueue queue(std::make_unique<RatedQueue>(nullptr, 8, model), mix);
  std::vector<std::byte> memory(8 * kPageBytes);
  std::array<ReadOp, 8> ops;
  Outcome outcome;
  uint64_t reads = 0;
  for (int round = 0; round < 50; ++round) {
    for (size_t i = 0; i < ops.size(); ++i) {
      ops[i] = {.offset = reads++ % places * kPageBytes,
                .target = std::span(memory).subspan(i * kPageBytes, kPageBytes),
                .bytes_needed = kPageBytes};
      EXPECT_TRUE(queue.offer(ops[i]));
    }
    size_t done = 0;
    while (done < ops.size()) done += queue.reap(1, 1)->size();
    EXPECT_EQ(queue.in_flight(), 0u);
    for (const ReadOp& op : ops) {
      outcome.errors += op.result == -EIO ? 1 : 0;
      outcome.ends += op.result == -ENODATA ? 1 : 0;
    }
    outcome.flips += static_cast<int>(
        std::ranges::count_if(memory, [](std::byte byte) { return byte != std::byte{0}; }));
    std::ranges::fill(memory, std::byte{0});
  }
  return outcome;
}

TEST(FaultyQueue, SpoilsAboutAsManyReadsAsAsked) {
  const Outcome errors = outcome_of({.seed = 1, .io_error = 0.25});
  EXPECT_NEAR(errors.errors, 100, 30);
  EXPECT_EQ(errors.ends + errors.flips, 0);
  EXPECT_EQ(outcome_of({.seed = 1, .short_read = 1}).ends, 400);
  EXPECT_EQ(outcome_of({.seed = 1, .bit_flip = 1}).flips, 400);
  EXPECT_EQ(outcome_of({.seed = 1}), Outcome{});
}

TEST(FaultyQueue, TheSameSeedGivesTheSameFaults) {
  const FaultMix mix{.seed = 5, .io_error = 0.1, .short_read = 0.1, .bit_flip = 0.1};
  EXPECT_EQ(outcome_of(mix), outcome_of(mix));
}

TEST(FaultyQueue, AFaultPassesUnlessItIsCertain) {
  // Of a place that is read again and again, every other read.
  EXPECT_NEAR(outcome_of({.seed = 1, .io_error = 0.999}, 1).errors, 200, 5);
  EXPECT_EQ(outcome_of({.seed = 1, .io_error = 1}, 1).errors, 400);
}

TEST(FaultyQueue, LateReadsAreGivenBack) {
  EXPECT_EQ(outcome_of({.seed = 2, .delay = 0.02}), Outcome{});
}

}  // namespace
}  // namespace switchyard
