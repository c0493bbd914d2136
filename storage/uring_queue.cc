#include "storage/uring_queue.h"

#include <fmt/format.h>
#include <liburing.h>
#include <sys/uio.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "runtime/base/align.h"
#include "runtime/base/check.h"
#include "runtime/base/clock.h"
#include "storage/input_file.h"
#include "storage/read_progress.h"

namespace switchyard {
namespace {

constexpr int kBusyTriesMax = 1000;

// An operation in flight; its index is the kernel's user_data.
struct Slot {
  ReadOp* op = nullptr;
  uint32_t bytes_done = 0;
};

}  // namespace

struct UringQueue::State {
  State(std::span<std::byte> slab_given, uint32_t depth, bool direct_wanted, uint64_t buffer_max)
      : slab(slab_given), direct(direct_wanted), buffer_bytes_max(buffer_max), slots(depth) {
    for (uint32_t i = depth; i-- > 0;) free_slots.push_back(i);
  }
  ~State();
  Status start();
  void register_slab();
  void prepare(io_uring_sqe* sqe, const Slot& slot) const;
  void settle(uint32_t index, int32_t got);
  void drain();
  const ReadOp& any_late() const;

  const std::span<std::byte> slab;
  const bool direct;
  const uint64_t buffer_bytes_max;
  io_uring ring{};
  bool ring_open = false;
  bool registered = false;
  std::vector<Slot> slots;
  std::vector<uint32_t> free_slots;
  std::vector<uint32_t> to_submit;
  std::vector<ReadOp*> done;
  std::vector<ReadOp*> returned;
  uint32_t in_kernel = 0;
};

// The kernel writes into targets until each completion is there, so they are waited for however
// long it takes.
UringQueue::State::~State() {
  if (!ring_open) return;
  while (in_kernel > 0) {
    io_uring_cqe* cqe = nullptr;
    const int error = io_uring_wait_cqe(&ring, &cqe);
    if (error == -EINTR) continue;
    CHECK_THAT(error == 0, "io_uring_wait_cqe: {}", error);
    io_uring_cqe_seen(&ring, cqe);
    in_kernel -= 1;
  }
  io_uring_queue_exit(&ring);
}

Status UringQueue::State::start() {
  const int error = io_uring_queue_init(static_cast<unsigned>(slots.size()), &ring, 0);
  if (error != 0) {
    const char* hint = error == -EPERM    ? "allow it (sysctl kernel.io_uring_disabled, seccomp)"
                       : error == -ENOMEM ? "raise the memlock limit (ulimit -l)"
                                          : "use Linux 5.11 or newer";
    return fail(Code::kUnavailable, fmt::format("no io_uring: {}", std::strerror(-error)), {},
                hint);
  }
  ring_open = true;
  if ((ring.features & IORING_FEAT_EXT_ARG) == 0) {
    return fail(Code::kUnavailable, "io_uring too old", {}, "use Linux 5.11 or newer");
  }
  register_slab();
  return {};
}

void UringQueue::State::register_slab() {
  std::vector<iovec> buffers;
  for (uint64_t at = 0; at < slab.size(); at += buffer_bytes_max) {
    buffers.push_back({slab.data() + at, std::min(buffer_bytes_max, slab.size() - at)});
  }
  registered =
      io_uring_register_buffers(&ring, buffers.data(), static_cast<unsigned>(buffers.size())) == 0;
}

void UringQueue::State::prepare(io_uring_sqe* sqe, const Slot& slot) const {
  const ReadOp& op = *slot.op;
  const std::span<std::byte> rest = op.target.subspan(slot.bytes_done);
  const auto bytes = static_cast<unsigned>(rest.size());
  const bool past_cache = direct && op.file->direct_fd() >= 0;
  const int fd = past_cache ? op.file->direct_fd() : op.file->fd();
  const uint64_t offset = op.offset + slot.bytes_done;
  const auto first = static_cast<uint64_t>(rest.data() - slab.data());
  const uint64_t buffer = first / buffer_bytes_max;
  if (registered && (first + bytes - 1) / buffer_bytes_max == buffer) {
    io_uring_prep_read_fixed(sqe, fd, rest.data(), bytes, offset, static_cast<int>(buffer));
  } else {
    io_uring_prep_read(sqe, fd, rest.data(), bytes, offset);
  }
  io_uring_sqe_set_data64(sqe, static_cast<uint64_t>(&slot - slots.data()));
}

void UringQueue::State::settle(uint32_t index, int32_t got) {
  Slot& slot = slots[index];
  const auto result = settle_transfer(*slot.op, slot.bytes_done, got);
  if (!result) {
    to_submit.push_back(index);
    return;
  }
  slot.op->result = *result;
  done.push_back(slot.op);
  slot = {};
  free_slots.push_back(index);
}

void UringQueue::State::drain() {
  io_uring_cqe* cqe = nullptr;
  while (io_uring_peek_cqe(&ring, &cqe) == 0) {
    const auto index = static_cast<uint32_t>(io_uring_cqe_get_data64(cqe));
    const int32_t got = cqe->res;
    io_uring_cqe_seen(&ring, cqe);
    in_kernel -= 1;
    settle(index, got);
  }
}

const ReadOp& UringQueue::State::any_late() const {
  const auto busy = std::find_if(slots.begin(), slots.end(), [](const Slot& s) { return s.op; });
  CHECK(busy != slots.end());
  return *busy->op;
}

Result<std::unique_ptr<UringQueue>> UringQueue::open(std::span<std::byte> slab, uint32_t depth,
                                                     bool direct_wanted,
                                                     uint64_t buffer_bytes_max) {
  CHECK(depth > 0 && !slab.empty());
  CHECK(reinterpret_cast<uintptr_t>(slab.data()) % kPageBytes == 0);
  auto state = std::make_unique<State>(slab, depth, direct_wanted, buffer_bytes_max);
  TRY_STATUS(state->start());
  return std::unique_ptr<UringQueue>(new UringQueue(std::move(state)));
}

UringQueue::UringQueue(std::unique_ptr<State> state) : state_(std::move(state)) {}
UringQueue::~UringQueue() = default;

std::string_view UringQueue::name() const {
  return state_->registered ? "io_uring, registered" : "io_uring";
}
uint32_t UringQueue::depth() const { return static_cast<uint32_t>(state_->slots.size()); }
bool UringQueue::registered() const { return state_->registered; }

uint32_t UringQueue::in_flight() const {
  return depth() - static_cast<uint32_t>(state_->free_slots.size()) +
         static_cast<uint32_t>(state_->done.size());
}

bool UringQueue::offer(ReadOp& op) {
  check_read_op(op);
  const std::span<std::byte> slab = state_->slab;
  CHECK(op.target.data() >= slab.data() &&
        op.target.data() + op.target.size() <= slab.data() + slab.size());
  if (in_flight() == depth()) return false;
  const uint32_t index = state_->free_slots.back();
  state_->free_slots.pop_back();
  state_->slots[index] = {&op, 0};
  state_->to_submit.push_back(index);
  return true;
}

Status UringQueue::submit() {
  for (const uint32_t index : state_->to_submit) {
    io_uring_sqe* sqe = io_uring_get_sqe(&state_->ring);
    CHECK(sqe != nullptr);  // the ring has a place for each slot
    state_->prepare(sqe, state_->slots[index]);
  }
  state_->to_submit.clear();
  for (int busy_tries = 0; io_uring_sq_ready(&state_->ring) > 0;) {
    const int count = io_uring_submit(&state_->ring);
    if (count > 0) state_->in_kernel += static_cast<uint32_t>(count);
    if (count > 0 || count == -EINTR) continue;
    const bool busy = count == 0 || count == -EAGAIN || count == -EBUSY;
    if (!busy || ++busy_tries > kBusyTriesMax) {
      return fail_errno(-count, "cannot submit reads", "io_uring");
    }
  }
  return {};
}

Result<std::span<ReadOp* const>> UringQueue::reap(uint32_t count_min, double timeout_seconds) {
  CHECK_THAT(count_min <= in_flight(), "{} of {}", count_min, in_flight());
  const double deadline = now_seconds() + timeout_seconds;
  while (true) {
    TRY_STATUS(submit());
    state_->drain();
    const bool rests = !state_->to_submit.empty();  // of short reads
    if (!rests && state_->done.size() >= count_min) break;
    const double left = std::min(deadline - now_seconds(), 3600.0);
    if (rests && left > 0) continue;
    if (left <= 0) return fail_late(state_->any_late(), timeout_seconds);
    const auto left_ns = static_cast<int64_t>(left * 1e9);
    __kernel_timespec wait{left_ns / 1'000'000'000, left_ns % 1'000'000'000};
    io_uring_cqe* cqe = nullptr;
    const int error =
        io_uring_wait_cqes(&state_->ring, &cqe,
                           count_min - static_cast<uint32_t>(state_->done.size()), &wait, nullptr);
    if (error != 0 && error != -ETIME && error != -EINTR && error != -EAGAIN) {
      return fail_errno(-error, "cannot wait for reads", "io_uring");
    }
  }
  state_->returned.clear();
  state_->returned.swap(state_->done);
  return std::span<ReadOp* const>(state_->returned);
}

}  // namespace switchyard
