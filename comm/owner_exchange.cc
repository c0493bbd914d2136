#include "comm/owner_exchange.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/collectives.h"
#include "comm/combine.h"
#include "comm/message_sum.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

size_t all_nodes(const OwnerShape& shape) {
  size_t nodes = 0;
  for (const auto& of_rank : shape.nodes_of_rank) nodes += of_rank.size();
  return nodes;
}

// For sums of `nodes` of every row, or what is gathered of it, in a message from or to each rank.
size_t buffer_floats(const OwnerShape& shape, size_t nodes) {
  const size_t gathered = shape.gathered_bytes / sizeof(float);
  return shape.rows_max * std::max(nodes * shape.hidden, gathered) +
         shape.nodes_of_rank.size() * kSumFloats;
}

size_t outgoing_floats(const OwnerShape& shape, uint32_t rank) {
  return buffer_floats(shape, shape.nodes_of_rank[rank].size());
}

size_t incoming_floats(const OwnerShape& shape, uint32_t rank) {
  return buffer_floats(shape, all_nodes(shape) - shape.nodes_of_rank[rank].size());
}

void grow(std::vector<float>& buffer, size_t floats) {
  if (buffer.size() < floats) buffer.resize(floats);
}

size_t row_floats(std::span<const RowColumn> columns) {
  size_t bytes = 0;
  for (const RowColumn& column : columns) bytes += column.bytes;
  CHECK(bytes % sizeof(float) == 0);
  return bytes / sizeof(float);
}

// One row of every column, to or from where it lies side by side; the end of that.
float* put_row(std::span<const RowColumn> columns, uint32_t row, float* to) {
  for (const RowColumn& column : columns) {
    std::memcpy(to, column.data + row * column.stride, column.bytes);
    to += column.bytes / sizeof(float);
  }
  return to;
}

const float* take_row(std::span<const RowColumn> columns, uint32_t row, const float* from) {
  for (const RowColumn& column : columns) {
    std::memcpy(column.data + row * column.stride, from, column.bytes);
    from += column.bytes / sizeof(float);
  }
  return from;
}

// Behind the floats that lie from `begin` on; the new end.
float* add_sum(float* begin, float* end) {
  if (begin == end) return end;
  put_sum({begin, end + kSumFloats});
  return end + kSumFloats;
}

}  // namespace

OwnerExchange::OwnerExchange(World& world, OwnerShape shape)
    : world_(world),
      shape_(std::move(shape)),
      outgoing_(outgoing_floats(shape_, world.rank())),
      incoming_(incoming_floats(shape_, world.rank())),
      bytes_to_(world.size()) {
  CHECK(world.size() >= 2 && shape_.nodes_of_rank.size() == world.size());
}

uint64_t OwnerExchange::bytes(const OwnerShape& shape, uint32_t rank) {
  return sizeof(float) * (outgoing_floats(shape, rank) + incoming_floats(shape, rank));
}

void OwnerExchange::send(uint32_t to, Channel channel, std::span<const float> floats) {
  if (floats.empty()) return;
  tickets_.push_back(world_.send(to, channel, std::as_bytes(floats)));
  bytes_to_[to] += floats.size_bytes();
}

void OwnerExchange::receive(uint32_t from, Channel channel, std::span<float> floats) {
  if (floats.empty()) return;
  tickets_.push_back(world_.receive(from, channel, std::as_writable_bytes(floats)));
}

Status OwnerExchange::wait(uint32_t layer, const char* what) {
  TRY_STATUS(wait_all(world_, tickets_, {what, static_cast<int32_t>(layer)}));
  tickets_.clear();
  return {};
}

Status OwnerExchange::reduce(const Kernels& kernels, uint32_t layer,
                             std::span<const uint8_t> owners, std::span<float* const> outputs,
                             float* sums, size_t stride) {
  const uint32_t self = world_.rank(), hidden = shape_.hidden;
  CHECK(outputs.size() == nodes(self) && owners.size() <= shape_.rows_max);
  std::vector<uint32_t> own;
  for (uint32_t row = 0; row < owners.size(); ++row) {
    if (owners[row] == self) own.push_back(row);
  }
  std::vector<size_t> begins(world_.size() + 1);  // of what each rank sends here
  for (uint32_t rank = 0; rank < world_.size(); ++rank) {
    const size_t floats = rank == self ? 0 : with_sum(own.size() * nodes(rank) * hidden);
    begins[rank + 1] = begins[rank] + floats;
    receive(rank, Channel::kHeads, std::span(incoming_).subspan(begins[rank], floats));
  }
  float* to = outgoing_.data();
  for (uint32_t rank = 0; rank < world_.size(); ++rank) {
    float* const begin = to;
    for (uint32_t row = 0; rank != self && row < owners.size(); ++row) {
      if (owners[row] != rank) continue;
      for (const float* output : outputs) {
        std::memcpy(to, output + row * stride, hidden * sizeof(float));
        to += hidden;
      }
    }
    to = add_sum(begin, to);
    send(rank, Channel::kHeads, {begin, to});
  }
  TRY_STATUS(wait(layer, "partial sums of heads"));
  for (uint32_t rank = 0; rank < world_.size(); ++rank) {
    const std::span<const float> came(incoming_.data() + begins[rank],
                                      incoming_.data() + begins[rank + 1]);
    TRY_STATUS(check_sum(came, rank, {"partial sums of heads", static_cast<int32_t>(layer)}));
  }
  std::vector<uint32_t> places;
  std::vector<float*> rows;
  for (size_t i = 0; i < own.size(); ++i) {
    places.clear();
    rows.clear();
    for (uint32_t rank = 0; rank < world_.size(); ++rank) {
      for (uint32_t node = 0; node < nodes(rank); ++node) {
        places.push_back(shape_.nodes_of_rank[rank][node]);
        rows.push_back(rank == self
                           ? outputs[node] + own[i] * stride
                           : incoming_.data() + begins[rank] + (i * nodes(rank) + node) * hidden);
      }
    }
    const float* sum = combine_token(kernels, {places, rows}, shape_.leaves, hidden);
    std::memcpy(sums + i * stride, sum, hidden * sizeof(float));
  }
  return {};
}

Status OwnerExchange::gather(uint32_t layer, std::span<const uint8_t> owners,
                             std::span<const RowColumn> columns) {
  const uint32_t self = world_.rank();
  const size_t width = row_floats(columns);
  std::vector<size_t> counts(world_.size());
  for (const uint8_t owner : owners) counts[owner] += 1;
  grow(outgoing_, with_sum(counts[self] * width));
  grow(incoming_, (owners.size() - counts[self]) * width + world_.size() * kSumFloats);
  float* to = outgoing_.data();
  for (uint32_t row = 0; row < owners.size(); ++row) {
    if (owners[row] == self) to = put_row(columns, row, to);
  }
  to = add_sum(outgoing_.data(), to);
  std::vector<const float*> from(world_.size());
  size_t begin = 0;
  for (uint32_t rank = 0; rank < world_.size(); ++rank) {
    if (rank == self) continue;
    from[rank] = incoming_.data() + begin;
    const size_t floats = with_sum(counts[rank] * width);
    receive(rank, Channel::kState, std::span(incoming_).subspan(begin, floats));
    begin += floats;
    send(rank, Channel::kState, {outgoing_.data(), to});
  }
  TRY_STATUS(wait(layer, "rows of their owners"));
  for (uint32_t rank = 0; rank < world_.size(); ++rank) {
    if (rank == self) continue;
    TRY_STATUS(check_sum({from[rank], with_sum(counts[rank] * width)}, rank,
                         {"rows of their owners", static_cast<int32_t>(layer)}));
  }
  for (uint32_t row = 0; row < owners.size(); ++row) {
    if (owners[row] != self) from[owners[row]] = take_row(columns, row, from[owners[row]]);
  }
  return {};
}

// A rank's nodes lie side by side.
std::pair<uint32_t, uint32_t> OwnerExchange::leaves_of(uint32_t rank) const {
  const auto begin_of = [&](uint32_t at) {
    while (at < world_.size() && nodes(at) == 0) ++at;
    return at == world_.size() ? shape_.leaves : shape_.nodes_of_rank[at].front();
  };
  if (nodes(rank) == 0) return {0, 0};
  return {begin_of(rank), begin_of(rank + 1)};
}

Status OwnerExchange::share(uint32_t layer, std::span<float> values) {
  const size_t count = values.size() / shape_.leaves;
  const auto [first, last] = leaves_of(world_.rank());
  std::vector<float> mine;
  for (size_t i = 0; i < count; ++i) {
    const auto own = values.subspan(i * shape_.leaves + first, last - first);
    mine.insert(mine.end(), own.begin(), own.end());
  }
  mine.resize(with_sum(mine.size()));
  put_sum(mine);
  std::vector<std::vector<float>> theirs(world_.size());
  for (uint32_t rank = 0; rank < world_.size(); ++rank) {
    if (rank == world_.rank()) continue;
    const auto [begin, end] = leaves_of(rank);
    theirs[rank].resize(with_sum(count * (end - begin)));
    receive(rank, Channel::kHeads, theirs[rank]);
    send(rank, Channel::kHeads, mine);
  }
  TRY_STATUS(wait(layer, "sums of squares"));
  for (uint32_t rank = 0; rank < world_.size(); ++rank) {
    if (rank == world_.rank()) continue;
    TRY_STATUS(check_sum(theirs[rank], rank, {"sums of squares", static_cast<int32_t>(layer)}));
    const auto [begin, end] = leaves_of(rank);
    for (size_t i = 0; i < count; ++i) {
      std::copy_n(theirs[rank].begin() + static_cast<ptrdiff_t>(i * (end - begin)), end - begin,
                  values.begin() + static_cast<ptrdiff_t>(i * shape_.leaves + begin));
    }
  }
  return {};
}

}  // namespace switchyard
