#pragma once

// Token rows to the ranks of their experts, and partials back: dispatch and combine of one layer.

#include <cstdint>
#include <span>
#include <vector>

#include "comm/dispatch_plan.h"
#include "comm/exchange_stage.h"
#include "comm/topology.h"
#include "comm/traffic.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

struct Kernels;

// How rows travel. Sparse: each to the ranks that have its experts, behind a count of them; where
// there are several nodes, once to each node, whose ranks pass it on and merge what goes back.
// Gather: every row to every rank, and a row back from each at least, in two rounds of known sizes.
enum class ExchangeWay : uint8_t { kSparse, kGather };

struct ExchangeShape {
  uint32_t hidden = 0;
  uint32_t top_k = 0;
  uint32_t rows_max = 0;  // of all ranks together
};

// What all ranks know of an exchange.
struct ExchangeStep {
  uint32_t number = 0;  // ranks that are not at the same one are noticed
  uint32_t layer = 0;
  ExchangeWay way = ExchangeWay::kSparse;
  std::vector<uint32_t> rows_of_rank = {};  // [ranks] rows that each brings
};

class ExpertExchange {
 public:
  // `world`, of two ranks at least, outlives the exchange.
  ExpertExchange(World& world, const ExchangeShape& shape, const Topology& topology);
  // Memory that it takes.
  static uint64_t bytes(const ExchangeShape& shape, uint32_t ranks);

  // Sends the rows of `plan` (x + row · stride, hidden wide) with their picks and begins to receive
  // the others'. Blocks for counts, and for rows that are to be passed on. The world's errors;
  // kInternal when another rank is at another step or layer. `plan` lives until combine() is over.
  Status dispatch(const ExchangeStep& step, const DispatchPlan& plan, const float* x,
                  size_t stride);
  // Blocks until the rows of all ranks are there.
  Status wait_for_rows();

  // The rows that came together here, this rank's own first, in the order of the plan. A row's
  // picks are those on all ranks.
  uint32_t count() const { return count_; }
  uint32_t own_count() const { return plan_->rows(); }
  const float* rows() const { return rows_.data(); }
  size_t stride() const { return stride_; }
  std::span<const PlannedPick> picks(uint32_t row) const;

  // Where a row's partials lie, [top_k] by PlannedPick::part. The caller sets those of this rank;
  // after combine() those of others are set for this rank's own rows. A node's ranks may have been
  // merged into the first of their parts: the rest then is null.
  std::span<float*> parts(uint32_t row) {
    return std::span(parts_).subspan(size_t{row} * shape_.top_k, shape_.top_k);
  }
  // Begins to return the others' partials; blocks only until this rank's own rows have left.
  Status return_parts(const Kernels& kernels);
  // Passes on what other ranks of the node returned, merged along the tree, and blocks until the
  // partials of this rank's own rows have come.
  Status combine(const Kernels& kernels);

  const Traffic& traffic() const { return traffic_; }
  void reset_traffic() { traffic_.clear(); }

 private:
  bool gathers() const { return step_.way == ExchangeWay::kGather; }
  void lay_rows(const float* x, size_t stride);
  void plan_stages();
  Status run_stage(ExchangeStage& stage);
  void tell_counts(ExchangeStage& stage);
  Status hear_counts(ExchangeStage& stage);
  void expect_all(ExchangeStage& stage);
  void receive_rows(ExchangeStage& stage);
  void send_rows(const ExchangeStage& stage);
  uint32_t parts_due(const ExchangeStage& stage, uint32_t row, uint32_t peer) const;
  void return_parts(const Kernels& kernels, const ExchangeStage& stage);
  float* put_parts(const Kernels& kernels, const ExchangeStage& stage, uint32_t row, float* to);
  Status take_parts(const ExchangeStage& stage);
  Status check_rows(const ExchangeStage& stage) const;
  void count_traffic();
  void send(uint32_t to, Channel channel, std::span<const float> floats);
  void receive(uint32_t from, Channel channel, std::span<float> floats);
  Status wait(std::vector<World::Ticket>& tickets, const char* what);
  LayerTraffic& layer_traffic();

  World& world_;
  const ExchangeShape shape_;
  const Topology topology_;
  const size_t stride_;  // of a row with its picks
  ExchangeStep step_;
  const DispatchPlan* plan_ = nullptr;
  std::vector<ExchangeStage> stages_;
  uint32_t count_ = 0;         // rows here
  size_t outgoing_used_ = 0;   // floats
  size_t incoming_used_ = 0;   // floats
  std::vector<float*> parts_;  // [rows][top_k]
  std::vector<float> rows_, outgoing_, incoming_;
  std::vector<World::Ticket> sent_, received_;
  Traffic traffic_;
};

}  // namespace switchyard
