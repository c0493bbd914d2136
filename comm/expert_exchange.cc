#include "comm/expert_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>

#include "comm/message_sum.h"
#include "runtime/base/check.h"
#include "runtime/base/hash.h"

namespace switchyard {

// What ranks tell each other before rows: so many come, and what it is about.
struct ExpertExchange::Counts {
  uint32_t step = 0;
  uint32_t layer = 0;
  uint32_t rows = 0;
  uint32_t unused = 0;
  uint64_t checksum = 0;

  uint64_t sum() const {
    return hash_bytes(std::as_bytes(std::span(this, 1)).first(offsetof(Counts, checksum)));
  }
};

namespace {

constexpr size_t kPickFloats = sizeof(PlannedPick) / sizeof(float);
static_assert(sizeof(PlannedPick) % sizeof(float) == 0);

// A row with its picks, and a partial. Each has its checksum behind it.
size_t row_floats(const ExchangeShape& shape) {
  return with_sum(shape.hidden + kPickFloats * shape.top_k);
}
size_t part_floats(const ExchangeShape& shape) { return with_sum(shape.hidden); }

// Rows or partials on their way out at once: of a row, one an expert at most, or one a rank.
size_t outgoing_max(const ExchangeShape& shape, uint32_t ranks) {
  return size_t{shape.rows_max} * std::max(shape.top_k, ranks - 1);
}

// Partials of a row: one an expert at most, and one of each rank that has none of them (kGather).
size_t incoming_max(const ExchangeShape& shape, uint32_t ranks) {
  return size_t{shape.rows_max} * (shape.top_k + ranks - 1);
}

}  // namespace

ExpertExchange::ExpertExchange(World& world, const ExchangeShape& shape)
    : world_(world),
      shape_(shape),
      stride_(row_floats(shape)),
      begins_(world.size() + 1),
      rows_(stride_ * shape.rows_max),
      outgoing_(stride_ * outgoing_max(shape, world.size())),
      incoming_(part_floats(shape) * incoming_max(shape, world.size())) {
  CHECK(world.size() >= 2);
}

uint64_t ExpertExchange::bytes(const ExchangeShape& shape, uint32_t ranks) {
  return sizeof(float) * (row_floats(shape) * (shape.rows_max + outgoing_max(shape, ranks)) +
                          part_floats(shape) * incoming_max(shape, ranks)) +
         shape.rows_max * shape.top_k * sizeof(float*);
}

LayerTraffic& ExpertExchange::layer_traffic() {
  if (traffic_.size() <= step_.layer) traffic_.resize(step_.layer + 1);
  LayerTraffic& traffic = traffic_[step_.layer];
  traffic.bytes_to.resize(world_.size());
  return traffic;
}

void ExpertExchange::send(uint32_t to, Channel channel, std::span<const float> floats) {
  if (floats.empty()) return;
  sent_.push_back(world_.send(to, channel, std::as_bytes(floats)));
  layer_traffic().bytes_to[to] += floats.size_bytes();
}

void ExpertExchange::receive(uint32_t from, Channel channel, std::span<float> floats) {
  if (floats.empty()) return;
  received_.push_back(world_.receive(from, channel, std::as_writable_bytes(floats)));
}

Status ExpertExchange::wait(std::vector<World::Ticket>& tickets, const char* what) {
  for (const World::Ticket ticket : tickets) {
    TRY_STATUS(world_.wait(ticket, {what, static_cast<int32_t>(step_.layer)}));
  }
  tickets.clear();
  return {};
}

// Every rank's rows of this layer, into begins_.
Status ExpertExchange::exchange_counts() {
  const uint32_t ranks = world_.size(), self = world_.rank();
  std::vector<Counts> mine(ranks), theirs(ranks);
  for (uint32_t peer = 0; peer < ranks; ++peer) {
    if (peer == self) continue;
    mine[peer] = {step_.number, step_.layer, static_cast<uint32_t>(plan_->rows_for[peer].size()), 0,
                  0};
    mine[peer].checksum = mine[peer].sum();
    received_.push_back(world_.receive(peer, Channel::kCounts,
                                       std::as_writable_bytes(std::span(&theirs[peer], 1))));
    sent_.push_back(world_.send(peer, Channel::kCounts, std::as_bytes(std::span(&mine[peer], 1))));
    layer_traffic().bytes_to[peer] += sizeof(Counts);
  }
  TRY_STATUS(wait(received_, "counts"));
  TRY_STATUS(wait(sent_, "counts"));
  for (uint32_t peer = 0; peer < ranks; ++peer) {
    const Counts& of_peer = theirs[peer];
    if (peer == self) continue;
    if (of_peer.checksum != of_peer.sum() || of_peer.step != step_.number ||
        of_peer.layer != step_.layer || of_peer.rows > step_.rows_of_rank[peer]) {
      return fail(Code::kInternal,
                  fmt::format("tells of {} rows at step {}, layer {}; this rank is at step {}, "
                              "layer {}",
                              of_peer.rows, of_peer.step, of_peer.layer, step_.number, step_.layer),
                  fmt::format("rank {}", peer));
    }
  }
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    begins_[rank + 1] = begins_[rank] + (rank == self ? plan_->rows() : theirs[rank].rows);
  }
  return {};
}

// This rank's own rows with their picks, among all that come together here.
void ExpertExchange::lay_rows(const float* x, size_t stride) {
  for (uint32_t row = 0; row < plan_->rows(); ++row) {
    float* to = rows_.data() + (own_begin() + row) * stride_;
    std::memcpy(to, x + row * stride, shape_.hidden * sizeof(float));
    std::memcpy(to + shape_.hidden, plan_->of(row).data(), shape_.top_k * sizeof(PlannedPick));
    put_sum({to, stride_});
  }
}

void ExpertExchange::send_rows() {
  const float* own = rows_.data() + own_begin() * stride_;
  float* copies = outgoing_.data();
  for (uint32_t to = 0; to < world_.size(); ++to) {
    if (to == world_.rank()) continue;
    if (gathers()) {
      send(to, Channel::kRows, {own, plan_->rows() * stride_});
      continue;
    }
    float* const begin = copies;
    for (const uint32_t row : plan_->rows_for[to]) {
      std::memcpy(copies, own + row * stride_, stride_ * sizeof(float));
      copies += stride_;
    }
    send(to, Channel::kRows, {begin, copies});
  }
}

Status ExpertExchange::dispatch(const ExchangeStep& step, const DispatchPlan& plan, const float* x,
                                size_t stride) {
  CHECK(step.rows_of_rank.size() == world_.size());
  CHECK(step.rows_of_rank[world_.rank()] == plan.rows() && plan.top_k == shape_.top_k);
  step_ = step;
  plan_ = &plan;
  if (gathers()) {
    for (uint32_t rank = 0; rank < world_.size(); ++rank) {
      begins_[rank + 1] = begins_[rank] + step.rows_of_rank[rank];
    }
  } else {
    TRY_STATUS(exchange_counts());
  }
  CHECK_THAT(count() <= shape_.rows_max, "{} rows of {}", count(), shape_.rows_max);
  for (uint32_t from = 0; from < world_.size(); ++from) {
    if (from == world_.rank()) continue;
    receive(from, Channel::kRows,
            {rows_.data() + begins_[from] * stride_, rows_.data() + begins_[from + 1] * stride_});
  }
  lay_rows(x, stride);
  send_rows();
  return {};
}

Status ExpertExchange::wait_for_rows() {
  TRY_STATUS(wait(received_, "rows"));
  for (uint32_t from = 0; from < world_.size(); ++from) {
    if (from == world_.rank()) continue;
    for (uint32_t row = begins_[from]; row < begins_[from + 1]; ++row) {
      TRY_STATUS(check_sum({rows_.data() + row * stride_, stride_}, from,
                           {"rows", static_cast<int32_t>(step_.layer)}));
    }
  }
  lay_outgoing();
  return {};
}

std::span<const PlannedPick> ExpertExchange::picks(uint32_t row) const {
  const float* at = rows_.data() + row * stride_ + shape_.hidden;
  return {reinterpret_cast<const PlannedPick*>(at), shape_.top_k};
}

void ExpertExchange::lay_outgoing() {
  outgoing_at_.assign(count() + 1, 0);
  uint64_t& computed = layer_traffic().computed;
  for (uint32_t row = 0; row < count(); ++row) {
    const bool own = row >= own_begin() && row < own_end();
    for (const PlannedPick& pick : picks(row)) computed += pick.rank == world_.rank() ? 1 : 0;
    const uint32_t parts = own ? 0 : parts_on(picks(row), world_.rank());
    const uint32_t least = gathers() && !own ? 1 : 0;
    outgoing_at_[row + 1] = outgoing_at_[row] + std::max(parts, least);
  }
}

Status ExpertExchange::begin_partials() { return wait(sent_, "rows to leave"); }

float* ExpertExchange::outgoing(uint32_t row, uint32_t nth) {
  return outgoing_.data() + size_t{outgoing_at_[row] + nth} * part_floats(shape_);
}

// Where the partials of this rank's own rows lie: those of each rank from `begins` on, by row and
// part.
void ExpertExchange::locate_parts(const std::vector<uint32_t>& begins) {
  std::vector<uint32_t> next = begins;
  parts_.assign(size_t{plan_->rows()} * shape_.top_k, nullptr);
  for (uint32_t row = 0; row < plan_->rows(); ++row) {
    uint64_t seen = uint64_t{1} << world_.rank();
    for (const PlannedPick& pick : plan_->of(row)) {
      seen |= uint64_t{1} << pick.rank;
      float*& part = parts_[size_t{row} * shape_.top_k + pick.part];
      if (pick.rank == world_.rank() || part != nullptr) continue;
      part = incoming_.data() + size_t{next[pick.rank]++} * part_floats(shape_);
    }
    for (uint32_t rank = 0; gathers() && rank < world_.size(); ++rank) {
      if ((seen >> rank & 1) == 0) ++next[rank];
    }
  }
}

Status ExpertExchange::combine() {
  const uint32_t ranks = world_.size(), self = world_.rank();
  std::vector<uint32_t> begins(ranks + 1);  // of each rank's partials
  for (uint32_t rank = 0; rank < ranks; ++rank) {
    uint32_t parts = rank == self ? 0 : plan_->parts_from[rank];
    if (gathers() && rank != self) {
      parts += plan_->rows() - static_cast<uint32_t>(plan_->rows_for[rank].size());
    }
    begins[rank + 1] = begins[rank] + parts;
  }
  const size_t stride = part_floats(shape_);
  CHECK(begins.back() * stride <= incoming_.size());
  const auto stretch = [&](auto& floats, uint32_t begin, uint32_t end) {
    return std::span(floats).subspan(begin * stride, (end - begin) * stride);
  };
  for (uint32_t part = 0; part < outgoing_at_.back(); ++part) {
    put_sum(stretch(outgoing_, part, part + 1));
  }
  for (uint32_t peer = 0; peer < ranks; ++peer) {
    if (peer == self) continue;
    receive(peer, Channel::kPartials, stretch(incoming_, begins[peer], begins[peer + 1]));
    send(peer, Channel::kPartials,
         stretch(outgoing_, outgoing_at_[begins_[peer]], outgoing_at_[begins_[peer + 1]]));
  }
  locate_parts(begins);
  LayerTraffic& traffic = layer_traffic();
  traffic.tokens += plan_->rows();
  traffic.copies_out += gathers() ? uint64_t{plan_->rows()} * (ranks - 1) : plan_->copies_out();
  traffic.copies_needed += plan_->copies_out();
  traffic.copies_back += begins.back();
  traffic.gathers += gathers() ? 1 : 0;
  traffic.steps += 1;
  for (const PlannedPick& pick : plan_->picks) traffic.picks_here += pick.rank == self ? 1 : 0;
  traffic.picks += plan_->picks.size();
  TRY_STATUS(wait(received_, "partials"));
  for (uint32_t from = 0; from < ranks; ++from) {
    for (uint32_t part = begins[from]; part < begins[from + 1]; ++part) {
      TRY_STATUS(check_sum(stretch(incoming_, part, part + 1), from,
                           {"partials", static_cast<int32_t>(step_.layer)}));
    }
  }
  return wait(sent_, "partials to leave");
}

}  // namespace switchyard
