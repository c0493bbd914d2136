#include "storage/pread_queue.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/base/check.h"
#include "storage/input_file.h"
#include "storage/read_progress.h"

namespace switchyard {
namespace {

constexpr uint32_t kThreadsMax = 8;

int32_t read_whole(const ReadOp& op) {
  uint32_t bytes_done = 0;
  while (true) {
    const std::span<std::byte> rest = op.target.subspan(bytes_done);
    const ssize_t got = ::pread(op.file->fd(), rest.data(), rest.size(),
                                static_cast<off_t>(op.offset + bytes_done));
    const auto result = settle_transfer(op, bytes_done, got < 0 ? -int64_t{errno} : got);
    if (result) return *result;
  }
}

}  // namespace

struct PreadQueue::State {
  explicit State(uint32_t depth_wanted) : depth(depth_wanted) {}
  void work();

  const uint32_t depth;
  std::vector<ReadOp*> offered;  // of the caller's thread alone, like the next two
  std::vector<ReadOp*> returned;
  uint32_t in_flight = 0;

  std::mutex mutex;  // guards all below
  std::condition_variable submitted;
  std::condition_variable completed;
  std::deque<ReadOp*> waiting;
  std::vector<ReadOp*> running;
  std::vector<ReadOp*> done;
  bool stopping = false;
  std::vector<std::thread> threads;
};

void PreadQueue::State::work() {
  std::unique_lock lock(mutex);
  while (true) {
    submitted.wait(lock, [this] { return stopping || !waiting.empty(); });
    if (stopping) return;
    ReadOp* op = waiting.front();
    waiting.pop_front();
    running.push_back(op);
    lock.unlock();
    op->result = read_whole(*op);
    lock.lock();
    std::erase(running, op);
    done.push_back(op);
    completed.notify_one();
  }
}

PreadQueue::PreadQueue(uint32_t depth) : state_(std::make_unique<State>(depth)) {
  CHECK(depth > 0);
  for (uint32_t i = 0; i < std::min(depth, kThreadsMax); ++i) {
    state_->threads.emplace_back([state = state_.get()] { state->work(); });
  }
}

PreadQueue::~PreadQueue() {
  {
    const std::lock_guard lock(state_->mutex);
    state_->stopping = true;
  }
  state_->submitted.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

uint32_t PreadQueue::depth() const { return state_->depth; }
uint32_t PreadQueue::in_flight() const { return state_->in_flight; }

bool PreadQueue::offer(ReadOp& op) {
  check_read_op(op);
  if (state_->in_flight == state_->depth) return false;
  state_->in_flight += 1;
  state_->offered.push_back(&op);
  return true;
}

Status PreadQueue::submit() {
  if (state_->offered.empty()) return {};
  {
    const std::lock_guard lock(state_->mutex);
    state_->waiting.insert(state_->waiting.end(), state_->offered.begin(), state_->offered.end());
  }
  state_->offered.clear();
  state_->submitted.notify_all();
  return {};
}

Result<std::span<ReadOp* const>> PreadQueue::reap(uint32_t count_min, double timeout_seconds) {
  CHECK_THAT(count_min <= state_->in_flight, "{} of {}", count_min, state_->in_flight);
  TRY_STATUS(submit());
  std::unique_lock lock(state_->mutex);
  const bool in_time =
      state_->completed.wait_for(lock, std::chrono::duration<double>(timeout_seconds),
                                 [&] { return state_->done.size() >= count_min; });
  if (!in_time) {
    const ReadOp* late = state_->running.empty() ? state_->waiting.front() : state_->running[0];
    return fail_late(*late, timeout_seconds);
  }
  state_->returned.clear();
  state_->returned.swap(state_->done);
  state_->in_flight -= static_cast<uint32_t>(state_->returned.size());
  return std::span<ReadOp* const>(state_->returned);
}

}  // namespace switchyard
