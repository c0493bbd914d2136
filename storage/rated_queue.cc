#include "storage/rated_queue.h"

#include <algorithm>
#include <string>
#include <utility>

#include "runtime/base/check.h"
#include "storage/read_progress.h"

namespace switchyard {

RatedQueue::RatedQueue(std::unique_ptr<ReadQueue> inner, uint32_t depth, DriveModel model)
    : inner_(std::move(inner)),
      depth_(depth),
      model_(std::move(model)),
      name_(inner_ ? std::string(inner_->name()) + ", held to a rate" : "in time alone") {
  CHECK(depth > 0 && model_.bytes_per_second > 0);
  CHECK(inner_ == nullptr || inner_->depth() >= depth);
}

uint32_t RatedQueue::in_flight() const {
  return static_cast<uint32_t>(offered_.size() + pending_.size());
}

bool RatedQueue::offer(ReadOp& op) {
  if (in_flight() == depth_) return false;
  if (inner_) CHECK(inner_->offer(op));
  offered_.push_back(&op);
  return true;
}

Status RatedQueue::submit() {
  if (inner_) TRY_STATUS(inner_->submit());
  for (ReadOp* op : offered_) {
    free_at_ =
        std::max(free_at_, model_.now_seconds()) + op->bytes_needed / model_.bytes_per_second;
    if (!inner_) op->result = 0;
    pending_.push_back({op, free_at_ + model_.latency_seconds, inner_ == nullptr});
  }
  offered_.clear();
  return {};
}

// At least `count_min` more reads of the inner queue.
Status RatedQueue::take_in(uint32_t count_min, double timeout_seconds) {
  if (!inner_ || inner_->in_flight() == 0) return {};
  for (ReadOp* op : TRY(inner_->reap(count_min, timeout_seconds))) {
    const auto at = std::ranges::find(pending_, op, &Pending::op);
    CHECK(at != pending_.end());
    at->arrived = true;
  }
  return {};
}

Result<std::span<ReadOp* const>> RatedQueue::reap(uint32_t count_min, double timeout_seconds) {
  CHECK_THAT(count_min <= in_flight(), "{} of {}", count_min, in_flight());
  TRY_STATUS(submit());
  TRY_STATUS(take_in(0, timeout_seconds));
  if (count_min > 0) {
    const Pending& last = pending_[count_min - 1];
    const double deadline = inner_ ? model_.now_seconds() + timeout_seconds : last.done_at;
    model_.sleep_until(std::min(last.done_at, deadline));
    if (last.done_at > deadline) return fail_late(*last.op, timeout_seconds);
    while (std::any_of(pending_.begin(), pending_.begin() + count_min,
                       [](const Pending& p) { return !p.arrived; })) {
      TRY_STATUS(take_in(1, timeout_seconds));
    }
  }
  completed_.clear();
  const double now = model_.now_seconds();
  std::erase_if(pending_, [&](const Pending& pending) {
    const bool done = pending.arrived && pending.done_at <= now;
    if (done) completed_.push_back(pending.op);
    return done;
  });
  return std::span<ReadOp* const>(completed_);
}

}  // namespace switchyard
