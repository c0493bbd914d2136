#include "storage/simulated_queue.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/exact_math.h"
#include "storage/input_file.h"
#include "storage/read_progress.h"

namespace switchyard {

using std::chrono::nanoseconds;

SimulatedQueue::SimulatedQueue(uint32_t depth, const FaultPlan& plan, ManualClock& clock)
    : depth_(depth), plan_(plan), clock_(clock), prng_(plan.seed) {
  CHECK(depth > 0);
}

uint32_t SimulatedQueue::in_flight() const {
  return static_cast<uint32_t>(offered_.size() + pending_.size());
}

bool SimulatedQueue::offer(ReadOp& op) {
  check_read_op(op);
  if (in_flight() == depth_) return false;
  offered_.push_back(&op);
  return true;
}

nanoseconds SimulatedQueue::latency() {
  const double mean_ns = static_cast<double>((plan_.latency_mean - plan_.latency_min).count());
  const double above_ns = mean_ns > 0 ? -mean_ns * exact_log(1 - prng_.uniform()) : 0;
  return plan_.latency_min + nanoseconds(static_cast<int64_t>(above_ns));
}

int64_t SimulatedQueue::read_once(const ReadOp& op, uint32_t bytes_done) {
  if (happens(plan_.io_error)) return -EIO;
  std::span<std::byte> rest = op.target.subspan(bytes_done);
  if (happens(plan_.short_read)) {
    rest = rest.first(prng_.below(rest.size() / kPageBytes) * kPageBytes);
  }
  const ssize_t got = rest.empty() ? 0
                                   : ::pread(op.file->fd(), rest.data(), rest.size(),
                                             static_cast<off_t>(op.offset + bytes_done));
  if (got < 0) return -errno;
  rest = rest.first(static_cast<size_t>(got));
  if (!rest.empty() && happens(plan_.bit_flip)) {
    rest[prng_.below(rest.size())] ^= std::byte{1} << prng_.below(8);
  }
  return static_cast<int64_t>(rest.size());
}

Status SimulatedQueue::submit() {
  for (ReadOp* op : offered_) {
    nanoseconds done_at = clock_.now;
    uint32_t bytes_done = 0;
    std::optional<int32_t> result;
    while (!result) {
      done_at += latency();
      result = settle_transfer(*op, bytes_done, read_once(*op, bytes_done));
    }
    op->result = *result;
    pending_.push_back({op, done_at});
  }
  offered_.clear();
  std::stable_sort(pending_.begin(), pending_.end(),
                   [](const Pending& a, const Pending& b) { return a.done_at < b.done_at; });
  return {};
}

Result<std::span<ReadOp* const>> SimulatedQueue::reap(uint32_t count_min, double timeout_seconds) {
  CHECK_THAT(count_min <= in_flight(), "{} of {}", count_min, in_flight());
  TRY_STATUS(submit());
  if (count_min > 0) {
    const Pending& last = pending_[count_min - 1];
    const auto deadline =
        clock_.now + nanoseconds(static_cast<int64_t>(std::min(timeout_seconds, 1e9) * 1e9));
    if (last.done_at > deadline) {
      clock_.now = deadline;
      return fail_late(*last.op, timeout_seconds);
    }
    clock_.now = std::max(clock_.now, last.done_at);
  }
  completed_.clear();
  const auto due = std::find_if(pending_.begin(), pending_.end(),
                                [&](const Pending& p) { return p.done_at > clock_.now; });
  for (auto it = pending_.begin(); it != due; ++it) completed_.push_back(it->op);
  pending_.erase(pending_.begin(), due);
  return std::span<ReadOp* const>(completed_);
}

}  // namespace switchyard
