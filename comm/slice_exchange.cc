#include "comm/slice_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "comm/collectives.h"
#include "comm/message_sum.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace switchyard {
namespace {

// Of a header.
constexpr size_t kStepAt = 0, kLayerAt = 1, kRowsAt = 2;
constexpr size_t kSumWords = sizeof(uint64_t) / sizeof(uint32_t);

// Of what leaves at once; of what comes at once there is no more.
size_t message_floats(const SliceShape& shape) {
  return size_t{shape.rows_max} * std::max(shape.hidden, shape.intermediate) +
         shape.ranks.size() * kSumFloats;
}

}  // namespace

SliceExchange::SliceExchange(World& world, SliceShape shape)
    : world_(world),
      shape_(std::move(shape)),
      header_(kRowsAt + shape_.experts + kSumWords),
      outgoing_(message_floats(shape_)),
      incoming_(message_floats(shape_)) {
  const auto self = std::ranges::find(shape_.ranks, world.rank());
  CHECK(shape_.ranks.size() >= 2 && self != shape_.ranks.end());
  slice_ = slice_of(static_cast<size_t>(self - shape_.ranks.begin()));
}

uint64_t SliceExchange::bytes(const SliceShape& shape) {
  return 2 * message_floats(shape) * sizeof(float);
}

RowSlice SliceExchange::slice_of(size_t member) const {
  return {static_cast<uint32_t>(member), static_cast<uint32_t>(shape_.ranks.size())};
}

LayerTraffic& SliceExchange::layer_traffic() {
  if (traffic_.size() <= layer_) traffic_.resize(layer_ + 1);
  traffic_[layer_].bytes_to.resize(world_.size());
  return traffic_[layer_];
}

Status SliceExchange::wait(std::vector<World::Ticket>& tickets, const char* what) {
  TRY_STATUS(wait_all(world_, tickets, awaited(what)));
  tickets.clear();
  return {};
}

void SliceExchange::send(uint32_t to, std::span<const std::byte> bytes) {
  sent_.push_back(world_.send(to, Channel::kSlices, bytes));
  layer_traffic().bytes_to[to] += bytes.size();
}

Status SliceExchange::begin(uint32_t step, uint32_t layer, std::span<uint32_t> rows_of) {
  CHECK(rows_of.size() == shape_.experts && sent_.empty());
  layer_ = layer;
  const auto told = std::span(header_).first(kRowsAt + shape_.experts);
  uint64_t sum = 0;
  if (leads()) {
    told[kStepAt] = step;
    told[kLayerAt] = layer;
    std::ranges::copy(rows_of, told.begin() + kRowsAt);
    sum = hash_bytes(std::as_bytes(told));
    std::memcpy(header_.data() + told.size(), &sum, sizeof sum);
    for (const uint32_t rank : shape_.ranks) {
      if (rank != world_.rank()) send(rank, std::as_bytes(std::span(header_)));
    }
    return {};
  }
  const uint32_t leader = shape_.ranks.front();
  received_.push_back(
      world_.receive(leader, Channel::kSlices, std::as_writable_bytes(std::span(header_))));
  TRY_STATUS(wait(received_, "numbers of rows"));
  std::memcpy(&sum, header_.data() + told.size(), sizeof sum);
  TRY_STATUS(check_sum(std::as_bytes(told), sum, leader, awaited("numbers of rows")));
  std::ranges::copy(told.subspan(kRowsAt), rows_of.begin());
  if (told[kStepAt] == step && told[kLayerAt] == layer &&
      std::ranges::max(rows_of) <= shape_.rows_max) {
    return {};
  }
  return fail(
      Code::kInternal,
      fmt::format("tells of {} rows at step {}, layer {}; this rank is at step {}, layer {}",
                  std::ranges::max(rows_of), told[kStepAt], told[kLayerAt], step, layer),
      fmt::format("rank {}", leader));
}

Result<const float*> SliceExchange::share_rows(uint32_t rows, const float* x, size_t stride,
                                               const uint32_t* which) {
  const size_t floats = with_sum(size_t{rows} * shape_.hidden);
  if (leads()) {
    TRY_STATUS(wait(sent_, "rows to leave"));
    for (uint32_t i = 0; i < rows; ++i) {
      std::memcpy(outgoing_.data() + size_t{i} * shape_.hidden, x + which[i] * stride,
                  shape_.hidden * sizeof(float));
    }
    const auto message = std::span(outgoing_).first(floats);
    put_sum(message);
    for (const uint32_t rank : shape_.ranks) {
      if (rank != world_.rank()) send(rank, std::as_bytes(message));
    }
    return outgoing_.data();
  }
  layer_traffic().computed += rows;
  const uint32_t leader = shape_.ranks.front();
  const auto message = std::span(incoming_).first(floats);
  received_.push_back(world_.receive(leader, Channel::kSlices, std::as_writable_bytes(message)));
  TRY_STATUS(wait(received_, "rows of sliced experts"));
  TRY_STATUS(check_sum(message, leader, awaited("rows of sliced experts")));
  return incoming_.data();
}

// Close together, with their checksum, in what leaves.
void SliceExchange::lay_columns(RowRange columns, uint32_t rows, const float* from, size_t stride) {
  for (uint32_t row = 0; row < rows; ++row) {
    std::memcpy(outgoing_.data() + size_t{row} * columns.rows(),
                from + row * stride + columns.begin, columns.rows() * sizeof(float));
  }
  put_sum(std::span(outgoing_).first(with_sum(size_t{rows} * columns.rows())));
}

void SliceExchange::send_columns(uint32_t to, RowRange columns, uint32_t rows) {
  const size_t floats = with_sum(size_t{rows} * columns.rows());
  send(to, std::as_bytes(std::span(outgoing_).first(floats)));
}

Status SliceExchange::receive_columns(const char* what, uint32_t width, uint32_t rows, float* to,
                                      size_t stride) {
  std::vector<std::span<float>> messages(shape_.ranks.size());
  size_t used = 0;
  for (size_t member = 0; member < messages.size(); ++member) {
    if (member == slice_.index) continue;
    const RowRange columns = rows_of(slice_of(member), width);
    messages[member] = std::span(incoming_).subspan(used, with_sum(size_t{rows} * columns.rows()));
    used += messages[member].size();
    received_.push_back(world_.receive(shape_.ranks[member], Channel::kSlices,
                                       std::as_writable_bytes(messages[member])));
  }
  TRY_STATUS(wait(received_, what));
  for (size_t member = 0; member < messages.size(); ++member) {
    if (member == slice_.index) continue;
    TRY_STATUS(check_sum(messages[member], shape_.ranks[member], awaited(what)));
    const RowRange columns = rows_of(slice_of(member), width);
    for (uint32_t row = 0; row < rows; ++row) {
      std::memcpy(to + row * stride + columns.begin,
                  messages[member].data() + size_t{row} * columns.rows(),
                  columns.rows() * sizeof(float));
    }
  }
  return {};
}

Status SliceExchange::share_inner(uint32_t rows, float* inner, size_t stride) {
  TRY_STATUS(wait(sent_, "rows of sliced experts to leave"));
  const RowRange own = inner_columns();
  lay_columns(own, rows, inner, stride);
  for (const uint32_t rank : shape_.ranks) {
    if (rank != world_.rank()) send_columns(rank, own, rows);
  }
  return receive_columns("slices of the intermediate", shape_.intermediate, rows, inner, stride);
}

Status SliceExchange::collect(uint32_t rows, float* outputs, size_t stride) {
  if (leads()) {
    return receive_columns("slices of outputs", shape_.hidden, rows, outputs, stride);
  }
  TRY_STATUS(wait(sent_, "slices of the intermediate to leave"));
  const RowRange own = outer_columns();
  lay_columns(own, rows, outputs, stride);
  send_columns(shape_.ranks.front(), own, rows);
  return {};
}

Status SliceExchange::end() { return wait(sent_, "slices to leave"); }

}  // namespace switchyard
