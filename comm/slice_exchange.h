#pragma once

// Experts that several ranks compute together, each some output rows of every matrix: what these
// ranks bring each other in one layer. The leader has the rows; all exchange what they computed of
// the intermediate, and the leader gets the outputs. No sum is cut, so no bit depends on it.

#include <cstdint>
#include <span>
#include <vector>

#include "comm/traffic.h"
#include "comm/world.h"
#include "runtime/base/result.h"
#include "runtime/kernels/row_slice.h"

namespace switchyard {

struct SliceShape {
  std::vector<uint32_t> ranks = {};  // two at least; the first leads, the n-th has slice n
  uint32_t hidden = 0;
  uint32_t intermediate = 0;
  uint32_t experts = 0;   // of a layer
  uint32_t rows_max = 0;  // of one expert
};

// All ranks of a group call the same functions in the same order. Errors are the world's; kBadData
// for what came damaged; kInternal when the leader is at another step or layer.
class SliceExchange {
 public:
  // `world`, whose rank is one of the shape's, outlives the exchange.
  SliceExchange(World& world, SliceShape shape);
  // Memory that it takes.
  static uint64_t bytes(const SliceShape& shape);

  bool leads() const { return slice_.index == 0; }
  // What this rank computes of an expert's intermediate and output.
  RowRange inner_columns() const { return rows_of(slice_, shape_.intermediate); }
  RowRange outer_columns() const { return rows_of(slice_, shape_.hidden); }

  // How many rows each expert has, [experts]: what the leader gives, the others get. They block.
  Status begin(uint32_t step, uint32_t layer, std::span<uint32_t> rows_of);

  // Then for each expert that has any, in ascending order, with its number of rows:
  // the leader's rows, x[which[i]] with `stride`, to all; the others, which pass nulls, block.
  // Where they lie here, [rows][hidden], until the next call.
  Result<const float*> share_rows(uint32_t rows, const float* x, size_t stride,
                                  const uint32_t* which);
  // The own columns of [rows][intermediate] to all, and the others' into it. Blocks.
  Status share_inner(uint32_t rows, float* inner, size_t stride);
  // The own columns of [rows][hidden] to the leader, which blocks for the others'.
  Status collect(uint32_t rows, float* outputs, size_t stride);

  // Blocks until what this rank sent has left.
  Status end();

  // Bytes, and what was computed here for the leader.
  const Traffic& traffic() const { return traffic_; }
  void reset_traffic() { traffic_.clear(); }

 private:
  RowSlice slice_of(size_t member) const;
  LayerTraffic& layer_traffic();
  void send(uint32_t to, std::span<const std::byte> bytes);
  void send_columns(uint32_t to, RowRange columns, uint32_t rows);
  void lay_columns(RowRange columns, uint32_t rows, const float* from, size_t stride);
  // From all other members, with what they have of so wide rows.
  Status receive_columns(const char* what, uint32_t width, uint32_t rows, float* to, size_t stride);
  Status wait(std::vector<World::Ticket>& tickets, const char* what);
  Awaited awaited(const char* what) const { return {what, static_cast<int32_t>(layer_)}; }

  World& world_;
  const SliceShape shape_;
  RowSlice slice_;  // this rank's
  uint32_t layer_ = 0;
  std::vector<uint32_t> header_;  // step, layer, rows of each expert, checksum
  std::vector<float> outgoing_, incoming_;
  std::vector<World::Ticket> sent_, received_;
  Traffic traffic_;
};

}  // namespace switchyard
