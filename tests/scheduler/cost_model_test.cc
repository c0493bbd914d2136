#include "scheduler/cost_model.h"

#include <gtest/gtest.h>

namespace switchyard {
namespace {

// One layer of 64 experts, 8 for each token; a weight takes a nanosecond, an expert a millisecond.
ModelWork some_work() {
  ModelWork work;
  work.layers = work.sparse_layers = 1;
  work.experts = 64;
  work.top_k = 8;
  work.dense_weights = 2e6;
  work.output_weights = 1e6;
  work.expert_weights = 1e6;
  work.weight_bytes = 2;
  work.read_bytes = 2e6;
  return work;
}

MachineRates some_machine() {
  MachineRates machine;
  machine.products = {{1, 1e9}, {4, 1e9}, {8, 0.5e9}};
  machine.memory_bytes_per_second = 2e9;
  machine.attention_flops = machine.row_elements = machine.finish_bytes_per_second = 1e18;
  machine.drive_bytes_per_second = 0.2e9;  // ten milliseconds an expert
  return machine;
}

double step_seconds(const MachineRates& machine, double resident, const StepShape& step = {1}) {
  const std::vector<double> shares = {resident};
  return step_cost(some_work(), machine, step, shares).seconds;
}

TEST(CostModel, ProductsAreInterpolatedInTimeAndGoOnInProportion) {
  const ProductCurve curve = some_machine().products;
  EXPECT_DOUBLE_EQ(seconds_per_weight(curve, 1), 1e-9);
  EXPECT_DOUBLE_EQ(seconds_per_weight(curve, 2), 1e-9);
  EXPECT_DOUBLE_EQ(seconds_per_weight(curve, 6), 1.5e-9);
  EXPECT_DOUBLE_EQ(seconds_per_weight(curve, 16), 4e-9);
}

TEST(CostModel, OneTokenWantsItsTopKAndManyWantAll) {
  EXPECT_NEAR(expected_experts(64, 8, 1), 8, 1e-9);
  EXPECT_NEAR(expected_experts(64, 8, 2), 15, 1e-9);
  EXPECT_NEAR(expected_experts(64, 8, 1000), 64, 1e-9);
}

TEST(CostModel, InMemoryATokenTakesWhatItsWeightsTake) {
  EXPECT_NEAR(step_seconds(some_machine(), 1), 10e-3, 1e-9);
  EXPECT_NEAR(step_seconds(some_machine(), 1, {.rows = 1, .logits = 1}), 11e-3, 1e-9);
}

TEST(CostModel, ReadsHideBehindHitsAndTheLastIsComputedAfterThem) {
  // Nothing there: the dense part, eight reads and the last one's computing.
  EXPECT_NEAR(step_seconds(some_machine(), 0), 2e-3 + 80e-3 + 1e-3, 1e-9);
  MachineRates fast = some_machine();
  fast.drive_bytes_per_second = 1e12;
  EXPECT_NEAR(step_seconds(fast, 0.5), 10e-3, 1e-4);
  // More there is never slower, and misses that vary cost no less than their mean.
  double before = step_seconds(some_machine(), 0);
  for (const double resident : {0.1, 0.3, 0.5, 0.9, 1.0}) {
    const double now = step_seconds(some_machine(), resident);
    EXPECT_LT(now, before) << resident;
    EXPECT_GE(now, 2e-3 + 8 * (1 - resident) * 10e-3);
    before = now;
  }
}

TEST(CostModel, CountsStallAndBytesOfReads) {
  const std::vector<double> shares = {0.0};
  const StepCost cost = step_cost(some_work(), some_machine(), {1}, shares);
  EXPECT_NEAR(cost.bytes_read, 16e6, 1);
  EXPECT_NEAR(cost.stall_seconds, 83e-3 - 10e-3, 1e-9);
}

TEST(CostModel, ReadAheadFillsTheDrivesIdleTimeBetweenLayersAlone) {
  ModelWork two = some_work();
  two.layers = two.sparse_layers = 2;
  two.dense_weights = 4e6;
  const std::vector<double> shares = {0, 0};
  const double without = step_cost(two, some_machine(), {1}, shares).seconds;
  const double with = step_cost(two, some_machine(), {.rows = 1, .read_ahead = 1}, shares).seconds;
  EXPECT_NEAR(without - with, 2e-3 + 1e-3, 1e-9);  // the dense part and the last expert
}

TEST(CostModel, ADriveThatSavesUpGivesIdleTimeBack) {
  MachineRates saving = some_machine();
  saving.drive_burst_per_second = 1e12;
  EXPECT_NEAR(step_seconds(some_machine(), 0) - step_seconds(saving, 0), 2e-3, 1e-9);
}

TEST(CostModel, NamesWhatLimits) {
  const auto name = [](const MachineRates& machine, double resident, uint32_t rows) {
    const std::vector<double> shares = {resident};
    return bottleneck(step_cost(some_work(), machine, {rows}, shares));
  };
  EXPECT_EQ(name(some_machine(), 0, 1), "drive");
  EXPECT_EQ(name(some_machine(), 1, 1), "memory");
  EXPECT_EQ(name(some_machine(), 1, 512), "compute");
}

}  // namespace
}  // namespace switchyard
