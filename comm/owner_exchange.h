#pragma once

// The two exchanges around attention whose heads are spread over ranks: partial sums of each row go
// to the rank that owns it, which adds them along the head tree, and owners' rows go to all ranks.
// What travels, and how much, every rank knows beforehand.

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

struct Kernels;

struct OwnerShape {
  uint32_t hidden = 0;
  uint32_t rows_max = 0;
  size_t gathered_bytes = 0;                              // of a row in a gather, mostly
  uint32_t leaves = 0;                                    // of the tree
  std::vector<std::vector<uint32_t>> nodes_of_rank = {};  // [ranks][nodes] their first leaves
};

// What there is of each row: `bytes` of them, a multiple of 4, a row every `stride` bytes.
struct RowColumn {
  std::byte* data = nullptr;
  size_t stride = 0;
  size_t bytes = 0;
};

class OwnerExchange {
 public:
  // `world`, of two ranks at least, outlives the exchange.
  OwnerExchange(World& world, OwnerShape shape);
  static uint64_t bytes(const OwnerShape& shape, uint32_t rank);

  // `outputs`: a row array for each of this rank's nodes; `owners`: [rows] ranks. The sums of this
  // rank's own rows, in their order, go to `sums`. All rows are `stride` apart. The world's errors.
  Status reduce(const Kernels& kernels, uint32_t layer, std::span<const uint8_t> owners,
                std::span<float* const> outputs, float* sums, size_t stride);

  // What its owner has of each row, in every column, to all. The ranks have the same columns. Takes
  // more memory for good where rows are wider than the shape says.
  Status gather(uint32_t layer, std::span<const uint8_t> owners,
                std::span<const RowColumn> columns);

  // values: [count][leaves]; each rank gives those of its own leaves.
  Status share(uint32_t layer, std::span<float> values);

  // Bytes that this rank sent to each other one, since the last reset.
  const std::vector<uint64_t>& bytes_to() const { return bytes_to_; }
  void reset_traffic() { bytes_to_.assign(bytes_to_.size(), 0); }

 private:
  uint32_t nodes(uint32_t rank) const {
    return static_cast<uint32_t>(shape_.nodes_of_rank[rank].size());
  }
  void send(uint32_t to, Channel channel, std::span<const float> floats);
  void receive(uint32_t from, Channel channel, std::span<float> floats);
  Status wait(uint32_t layer, const char* what);
  std::pair<uint32_t, uint32_t> leaves_of(uint32_t rank) const;

  World& world_;
  const OwnerShape shape_;
  std::vector<float> outgoing_, incoming_;
  std::vector<World::Ticket> tickets_;
  std::vector<uint64_t> bytes_to_;  // [ranks]
};

}  // namespace switchyard
