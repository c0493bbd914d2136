#include "experts/prefetch_gate.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

constexpr uint64_t kExpertBytes = 12'000'000;

// A drive of `bytes_per_second` whose layers take 4 ms of computing, in which it is idle, and
// `stalled` of waiting.
PrefetchGate gate_of(double bytes_per_second, double stalled = 4e-3,
                     uint64_t bytes_per_step_max = UINT64_MAX) {
  PrefetchGate gate(bytes_per_step_max, 2 << 20);
  gate.begin_step();
  gate.observe_drive(bytes_per_second, 1);
  for (int i = 0; i < 100; ++i) {
    gate.end_layer({.seconds = 4e-3 + stalled, .stalled_seconds = stalled, .idle_seconds = 4e-3});
  }
  return gate;
}

PrefetchGate::Job job(double probability, uint32_t layers_ahead = 1) {
  return {.probability = probability, .layers_ahead = layers_ahead, .bytes = kExpertBytes};
}

TEST(PrefetchGate, AdmitsWhatIsProbableAsFarAsTheDriveIsIdle) {
  PrefetchGate gate = gate_of(3e9);
  EXPECT_TRUE(gate.admit(job(0.6)));
  EXPECT_FALSE(gate.admit(job(0.1)));
  auto behind_others = job(0.6);
  behind_others.bytes_ahead = 2 * kExpertBytes;
  EXPECT_FALSE(gate.admit(behind_others));
  behind_others.layers_ahead = 4;
  EXPECT_TRUE(gate.admit(behind_others));
}

TEST(PrefetchGate, KnowsNothingWithoutARate) {
  PrefetchGate gate(UINT64_MAX, 2 << 20);
  gate.begin_step();
  EXPECT_FALSE(gate.admit(job(1)));
}

TEST(PrefetchGate, KeepsToTheBytesOfAStep) {
  PrefetchGate gate = gate_of(3e9, 4e-3, kExpertBytes);
  EXPECT_TRUE(gate.admit(job(0.9)));
  EXPECT_FALSE(gate.admit(job(0.9)));
  gate.begin_step();
  EXPECT_TRUE(gate.admit(job(0.9)));
}

// What a wrong guess evicts has to be read again some time, even where nothing waits for the drive.
TEST(PrefetchGate, MindsWhatIsEvicted) {
  PrefetchGate gate = gate_of(3e9, 0);
  EXPECT_TRUE(gate.admit(job(0.4)));
  EXPECT_FALSE(gate.admit(job(0.1)));
}

TEST(PrefetchGate, RestsWhenTooMuchIsWasted) {
  PrefetchGate gate = gate_of(3e9);
  for (int i = 0; i < 20; ++i) gate.wasted({0.9}, kExpertBytes);
  EXPECT_TRUE(gate.resting());
  EXPECT_FALSE(gate.admit(job(1)));
  for (int i = 0; i < 16; ++i) gate.begin_step();
  EXPECT_FALSE(gate.resting());
}

}  // namespace
}  // namespace switchyard
