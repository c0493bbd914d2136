#pragma once

// Token rows to the ranks of their experts, and partials back: dispatch and combine of one layer.

#include <cstdint>
#include <span>
#include <vector>

#include "comm/dispatch_plan.h"
#include "comm/traffic.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

// How rows travel. Sparse: each to the ranks that have its experts, after a round of counts.
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
  ExpertExchange(World& world, const ExchangeShape& shape);
  // Memory that it takes.
  static uint64_t bytes(const ExchangeShape& shape, uint32_t ranks);

  // Sends the rows of `plan` (x + row · stride, hidden wide) with their picks and begins to receive
  // the others'. Blocks for the counts only. The world's errors; kInternal when another rank is at
  // another step or layer. `plan` lives until combine() is over.
  Status dispatch(const ExchangeStep& step, const DispatchPlan& plan, const float* x,
                  size_t stride);
  // Blocks until the rows of all ranks are there.
  Status wait_for_rows();

  // The rows that came together here, this rank's own in the order of the plan among them. A row's
  // picks are those on all ranks.
  uint32_t count() const { return begins_.back(); }
  const float* rows() const { return rows_.data(); }
  size_t stride() const { return stride_; }
  std::span<const PlannedPick> picks(uint32_t row) const;
  uint32_t own_begin() const { return begins_[world_.rank()]; }
  uint32_t own_end() const { return begins_[world_.rank() + 1]; }

  // Blocks until this rank's own rows have left; then the partials of the others' rows may be put
  // where outgoing() says: the `nth` of those that this rank has for a row.
  Status begin_partials();
  float* outgoing(uint32_t row, uint32_t nth);

  // Returns them and blocks until those of this rank's own rows have come; incoming() then gives
  // each part of a row of the plan, but for what is this rank's own: null.
  Status combine();
  float* incoming(uint32_t row, uint32_t part) const {
    return parts_[size_t{row} * shape_.top_k + part];
  }

  const Traffic& traffic() const { return traffic_; }
  void reset_traffic() { traffic_.clear(); }

 private:
  struct Counts;
  bool gathers() const { return step_.way == ExchangeWay::kGather; }
  Status exchange_counts();
  void lay_rows(const float* x, size_t stride);
  void send_rows();
  void lay_outgoing();
  void locate_parts(const std::vector<uint32_t>& begins);
  void send(uint32_t to, Channel channel, std::span<const float> floats);
  void receive(uint32_t from, Channel channel, std::span<float> floats);
  Status wait(std::vector<World::Ticket>& tickets, const char* what);
  LayerTraffic& layer_traffic();

  World& world_;
  const ExchangeShape shape_;
  const size_t stride_;  // of a row with its picks
  ExchangeStep step_;
  const DispatchPlan* plan_ = nullptr;
  std::vector<uint32_t> begins_;       // [ranks + 1] of each rank's rows
  std::vector<uint32_t> outgoing_at_;  // [rows + 1] where a row's partials begin
  std::vector<float*> parts_;          // [own rows][top_k]
  std::vector<float> rows_, outgoing_, incoming_;
  std::vector<World::Ticket> sent_, received_;
  Traffic traffic_;
};

}  // namespace switchyard
