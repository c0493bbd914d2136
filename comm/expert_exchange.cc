#include "comm/expert_exchange.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <numeric>

#include "comm/collectives.h"
#include "comm/combine.h"
#include "comm/message_sum.h"
#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr size_t kPickFloats = sizeof(PlannedPick) / sizeof(float);
static_assert(sizeof(PlannedPick) % sizeof(float) == 0);

// A row with its picks, and a partial. Each has its checksum behind it, all the way.
size_t row_floats(const ExchangeShape& shape) {
  return with_sum(shape.hidden + kPickFloats * shape.top_k);
}
size_t part_floats(const ExchangeShape& shape) { return with_sum(shape.hidden); }

// Rows on their way out at once; and partials, of which a row has at most one an expert and one of
// any content from each rank without.
size_t copies_max(const ExchangeShape& shape, uint32_t ranks) {
  return size_t{shape.rows_max} * (shape.top_k + ranks - 1);
}

}  // namespace

ExpertExchange::ExpertExchange(World& world, const ExchangeShape& shape, const Topology& topology)
    : world_(world),
      shape_(shape),
      topology_(topology),
      stride_(row_floats(shape)),
      rows_(stride_ * shape.rows_max),
      outgoing_(stride_ * copies_max(shape, world.size())),
      incoming_(part_floats(shape) * copies_max(shape, world.size())) {
  CHECK(world.size() >= 2 && topology.node_of.size() == world.size());
}

uint64_t ExpertExchange::bytes(const ExchangeShape& shape, uint32_t ranks) {
  const size_t copies = copies_max(shape, ranks);
  return sizeof(float) *
             (row_floats(shape) * (shape.rows_max + copies) + part_floats(shape) * copies) +
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
  TRY_STATUS(wait_all(world_, tickets, {what, static_cast<int32_t>(step_.layer)}));
  tickets.clear();
  return {};
}

std::span<const PlannedPick> ExpertExchange::picks(uint32_t row) const {
  const float* at = rows_.data() + row * stride_ + shape_.hidden;
  return {reinterpret_cast<const PlannedPick*>(at), shape_.top_k};
}

// This rank's own rows with their picks, before all that come.
void ExpertExchange::lay_rows(const float* x, size_t stride) {
  for (uint32_t row = 0; row < plan_->rows(); ++row) {
    float* to = rows_.data() + row * stride_;
    std::memcpy(to, x + row * stride, shape_.hidden * sizeof(float));
    std::memcpy(to + shape_.hidden, plan_->of(row).data(), shape_.top_k * sizeof(PlannedPick));
    put_sum({to, stride_});
  }
}

// The legs that rows take, and with whom this rank exchanges in each.
void ExpertExchange::plan_stages() {
  stages_.clear();
  const bool direct = gathers() || topology_.flat();
  if (!direct) {
    // Between two nodes the ranks that send to each other's gateways are peers both ways.
    ExchangeStage& across = stages_.emplace_back(ExchangeStage{.crosses_nodes = true});
    for (uint32_t peer = 0; peer < world_.size(); ++peer) {
      if (topology_.together(peer, world_.rank())) continue;
      const bool to = topology_.gateway(world_.rank(), topology_.node_of[peer]) == peer;
      const bool from = topology_.gateway(peer, topology_.node_of[world_.rank()]) == world_.rank();
      if (to || from) across.peers.push_back(peer);
    }
  }
  ExchangeStage& last = stages_.emplace_back();
  for (uint32_t peer = 0; peer < world_.size(); ++peer) {
    if (peer == world_.rank() || (!direct && !topology_.together(peer, world_.rank()))) continue;
    last.peers.push_back(peer);
  }
}

// How many rows go to each peer; the rows themselves follow at once.
void ExpertExchange::tell_counts(ExchangeStage& stage) {
  stage.told.resize(stage.peers.size());
  stage.heard.resize(stage.peers.size());
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    RowCounts& mine = stage.told[i];
    mine = {.step = step_.number,
            .layer = step_.layer,
            .rows = static_cast<uint32_t>(stage.sends[i].size())};
    mine.checksum = mine.sum();
    received_.push_back(world_.receive(stage.peers[i], Channel::kCounts,
                                       std::as_writable_bytes(std::span(&stage.heard[i], 1))));
    sent_.push_back(
        world_.send(stage.peers[i], Channel::kCounts, std::as_bytes(std::span(&mine, 1))));
    layer_traffic().bytes_to[stage.peers[i]] += sizeof(RowCounts);
  }
}

// Where each peer's rows will lie, behind those that are here already.
Status ExpertExchange::hear_counts(ExchangeStage& stage) {
  TRY_STATUS(wait(received_, "counts"));
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    const RowCounts& of_peer = stage.heard[i];
    if (of_peer.checksum != of_peer.sum() || of_peer.step != step_.number ||
        of_peer.layer != step_.layer || of_peer.rows > shape_.rows_max - count_) {
      return fail(Code::kInternal,
                  fmt::format("tells of {} rows at step {}, layer {}; this rank is at step {}, "
                              "layer {}",
                              of_peer.rows, of_peer.step, of_peer.layer, step_.number, step_.layer),
                  fmt::format("rank {}", stage.peers[i]));
    }
    stage.begins.push_back(count_);
    count_ += of_peer.rows;
  }
  stage.begins.push_back(count_);
  return {};
}

// The same where everybody's rows come.
void ExpertExchange::expect_all(ExchangeStage& stage) {
  for (const uint32_t peer : stage.peers) {
    stage.begins.push_back(count_);
    count_ += step_.rows_of_rank[peer];
  }
  CHECK_THAT(count_ <= shape_.rows_max, "{} rows of {}", count_, shape_.rows_max);
  stage.begins.push_back(count_);
}

void ExpertExchange::receive_rows(ExchangeStage& stage) {
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    receive(
        stage.peers[i], Channel::kRows,
        {rows_.data() + stage.begins[i] * stride_, rows_.data() + stage.begins[i + 1] * stride_});
  }
}

void ExpertExchange::send_rows(const ExchangeStage& stage) {
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    if (gathers()) {
      send(stage.peers[i], Channel::kRows, {rows_.data(), plan_->rows() * stride_});
      continue;
    }
    float* const begin = outgoing_.data() + outgoing_used_;
    for (const uint32_t row : stage.sends[i]) {
      std::memcpy(outgoing_.data() + outgoing_used_, rows_.data() + row * stride_,
                  stride_ * sizeof(float));
      outgoing_used_ += stride_;
    }
    send(stage.peers[i], Channel::kRows, {begin, outgoing_.data() + outgoing_used_});
  }
}

// Which of the rows that are here go on to which peers; then they go.
Status ExpertExchange::run_stage(ExchangeStage& stage) {
  stage.sends.assign(stage.peers.size(), {});
  for (uint32_t row = 0; row < count_; ++row) {
    for (size_t i = 0; i < stage.peers.size(); ++i) {
      const bool own_only = stage.crosses_nodes || gathers();
      if (own_only && row >= plan_->rows()) continue;
      if (gathers() || parts_due(stage, row, stage.peers[i]) > 0) stage.sends[i].push_back(row);
    }
  }
  if (gathers()) {
    expect_all(stage);
    receive_rows(stage);
    send_rows(stage);
  } else {
    tell_counts(stage);
    send_rows(stage);
    TRY_STATUS(hear_counts(stage));
    receive_rows(stage);
  }
  if (!stage.crosses_nodes) return {};
  TRY_STATUS(wait(received_, "rows to pass on"));
  return check_rows(stage);
}

Status ExpertExchange::check_rows(const ExchangeStage& stage) const {
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    for (uint32_t row = stage.begins[i]; row < stage.begins[i + 1]; ++row) {
      TRY_STATUS(check_sum({rows_.data() + row * stride_, stride_}, stage.peers[i],
                           {"rows", static_cast<int32_t>(step_.layer)}));
    }
  }
  return {};
}

Status ExpertExchange::dispatch(const ExchangeStep& step, const DispatchPlan& plan, const float* x,
                                size_t stride) {
  CHECK(step.rows_of_rank.size() == world_.size());
  CHECK(step.rows_of_rank[world_.rank()] == plan.rows() && plan.top_k == shape_.top_k);
  step_ = step;
  plan_ = &plan;
  count_ = plan.rows();
  outgoing_used_ = incoming_used_ = 0;
  lay_rows(x, stride);
  plan_stages();
  for (ExchangeStage& stage : stages_) TRY_STATUS(run_stage(stage));
  return {};
}

Status ExpertExchange::wait_for_rows() {
  TRY_STATUS(wait(received_, "rows"));
  TRY_STATUS(check_rows(stages_.back()));
  parts_.assign(size_t{count_} * shape_.top_k, nullptr);
  uint64_t& computed = layer_traffic().computed;
  for (uint32_t row = 0; row < count_; ++row) {
    for (const PlannedPick& pick : picks(row)) computed += pick.rank == world_.rank() ? 1 : 0;
  }
  return {};
}

// Partials that `peer` returns for a row that was sent there; none: it need not go there.
uint32_t ExpertExchange::parts_due(const ExchangeStage& stage, uint32_t row, uint32_t peer) const {
  if (!stage.crosses_nodes) {
    const uint32_t parts = parts_on(picks(row), peer);
    return gathers() ? std::max(parts, 1U) : parts;
  }
  const uint32_t node = topology_.node_of[peer];
  if (topology_.gateway(world_.rank(), node) != peer) return 0;
  return static_cast<uint32_t>(
      node_parts(topology_.node_of, picks(row), plan_->place_of, node).size());
}

// Sums the partials of a row that go back, to `to` and on; returns where they end.
float* ExpertExchange::put_parts(const Kernels& kernels, const ExchangeStage& stage, uint32_t row,
                                 float* to) {
  const std::span<const PlannedPick> of_row = picks(row);
  const std::span<float*> parts = this->parts(row);
  const auto put = [&](const float* from) {
    std::memcpy(to, from, shape_.hidden * sizeof(float));
    put_sum({to, part_floats(shape_)});
    to += part_floats(shape_);
  };
  if (stage.crosses_nodes) {
    for (const auto stretch :
         node_parts(topology_.node_of, of_row, plan_->place_of, topology_.node_of[world_.rank()])) {
      put(combine_parts(kernels, stretch, parts, plan_->place_of, shape_.hidden));
    }
    return to;
  }
  uint32_t count = 0;
  for (size_t i = 0; i < of_row.size(); ++i) {
    if (of_row[i].rank != world_.rank() || (i > 0 && of_row[i].part == of_row[i - 1].part))
      continue;
    put(parts[of_row[i].part]);
    ++count;
  }
  if (gathers() && count == 0) put(rows_.data() + row * stride_);  // any row
  return to;
}

// Of the rows that this rank sent in a stage: where the partials that came back lie.
Status ExpertExchange::take_parts(const ExchangeStage& stage) {
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    for (const uint32_t row : stage.sends[i]) {
      float* from = incoming_.data() + incoming_used_;
      for (uint32_t due = parts_due(stage, row, stage.peers[i]); due > 0; --due) {
        TRY_STATUS(check_sum({incoming_.data() + incoming_used_, part_floats(shape_)},
                             stage.peers[i], {"partials", static_cast<int32_t>(step_.layer)}));
        incoming_used_ += part_floats(shape_);
      }
      const auto take = [&](const PlannedPick& first) {
        parts(row)[first.part] = from;
        from += part_floats(shape_);
      };
      const std::span<const PlannedPick> of_row = picks(row);
      if (stage.crosses_nodes) {
        for (const auto stretch : node_parts(topology_.node_of, of_row, plan_->place_of,
                                             topology_.node_of[stage.peers[i]])) {
          take(stretch.front());
        }
        continue;
      }
      for (size_t pick = 0; pick < of_row.size(); ++pick) {
        const bool begins = pick == 0 || of_row[pick].part != of_row[pick - 1].part;
        if (begins && of_row[pick].rank == stage.peers[i]) take(of_row[pick]);
      }
    }
  }
  return {};
}

void ExpertExchange::return_parts(const Kernels& kernels, const ExchangeStage& stage) {
  size_t incoming = incoming_used_;
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    size_t due = 0;
    for (const uint32_t row : stage.sends[i]) due += parts_due(stage, row, stage.peers[i]);
    receive(stage.peers[i], Channel::kPartials,
            std::span(incoming_).subspan(incoming, due * part_floats(shape_)));
    incoming += due * part_floats(shape_);
    layer_traffic().copies_back += due;
  }
  for (size_t i = 0; i < stage.peers.size(); ++i) {
    float* const begin = outgoing_.data() + outgoing_used_;
    float* end = begin;
    for (uint32_t row = stage.begins[i]; row < stage.begins[i + 1]; ++row) {
      end = put_parts(kernels, stage, row, end);
    }
    outgoing_used_ += static_cast<size_t>(end - begin);
    send(stage.peers[i], Channel::kPartials, {begin, end});
  }
}

void ExpertExchange::count_traffic() {
  LayerTraffic& traffic = layer_traffic();
  traffic.tokens += plan_->rows();
  traffic.copies_needed += plan_->copies_out;
  traffic.gathers += gathers() ? 1 : 0;
  traffic.steps += 1;
  for (const PlannedPick& pick : plan_->picks) {
    traffic.picks_here += pick.rank == world_.rank() ? 1 : 0;
  }
  traffic.picks += plan_->picks.size();
  for (const ExchangeStage& stage : stages_) {
    for (size_t i = 0; i < stage.peers.size(); ++i) {
      traffic.copies_out += stage.sends[i].size();
      const bool leaves = !topology_.together(stage.peers[i], world_.rank());
      traffic.copies_to_nodes += leaves ? stage.sends[i].size() : 0;
    }
  }
}

Status ExpertExchange::return_parts(const Kernels& kernels) {
  TRY_STATUS(wait(sent_, "rows to leave"));  // their memory is used again
  outgoing_used_ = 0;
  count_traffic();
  return_parts(kernels, stages_.back());
  return {};
}

Status ExpertExchange::combine(const Kernels& kernels) {
  for (size_t i = stages_.size(); i-- > 0;) {
    TRY_STATUS(wait(received_, "partials"));
    TRY_STATUS(take_parts(stages_[i]));
    if (i > 0) return_parts(kernels, stages_[i - 1]);
  }
  return wait(sent_, "partials to leave");
}

}  // namespace switchyard
