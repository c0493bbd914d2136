#include "comm/handover.h"

#include <fmt/format.h>
#include <sched.h>

#include <chrono>

#include "runtime/base/clock.h"

namespace switchyard {

namespace {

// Waking a thread that sleeps takes longer than most answers.
constexpr double kSpinSeconds = 50e-6;
using Seconds = std::chrono::duration<double>;
constexpr Seconds kNap(0.25);

std::atomic_ref<Message::State> state_of(Message& message) {
  return std::atomic_ref(message.state);
}

}  // namespace

class Handover::Stall {
 public:
  explicit Stall(const Handover& handover)
      : handover_(handover), rounds_(handover.rounds_.load()) {}
  // One nap, or less if woken: the seconds without a round so far.
  double nap(std::unique_lock<std::mutex>& lock, std::condition_variable& condition) {
    const bool woken = condition.wait_for(lock, kNap) == std::cv_status::no_timeout;
    const uint64_t rounds = handover_.rounds_.load();
    seconds_ = woken || rounds != rounds_ ? 0 : seconds_ + kNap.count();
    rounds_ = rounds;
    return seconds_;
  }

 private:
  const Handover& handover_;
  uint64_t rounds_;
  double seconds_ = 0;
};

void Handover::wake_communication(std::unique_lock<std::mutex>& lock) {
  news_ = true;
  const bool rests = rests_;
  lock.unlock();
  if (rests) to_communication_.notify_one();
}

void Handover::post(Message& message) {
  std::unique_lock lock(mutex_);
  posted_.push_back(&message);
  any_posted_.store(true, std::memory_order_release);
  wake_communication(lock);
}

bool Handover::is_over(Message& message) const {
  return state_of(message).load() == Message::State::kOver;
}

std::optional<Error> Handover::failure() {
  if (!failed_.load()) return std::nullopt;
  const std::lock_guard lock(mutex_);
  return failure_;
}

Status Handover::wait(Message& message, const Awaited& awaited, double stall_seconds) {
  {
    std::unique_lock lock(mutex_);
    waiting_ = {&message, awaited, now_seconds()};
    waits_.store(true, std::memory_order_relaxed);
    wake_communication(lock);
  }
  const double spin_end = now_seconds() + kSpinSeconds;
  while (!is_over(message) && !failed_.load() && now_seconds() < spin_end) ::sched_yield();
  if (!is_over(message)) sleep_until_over(message, stall_seconds);
  const std::lock_guard lock(mutex_);
  waiting_ = {};
  waits_.store(false, std::memory_order_relaxed);
  if (failure_) return tl::unexpected(*failure_);
  return {};
}

void Handover::sleep_until_over(Message& message, double stall_seconds) {
  std::unique_lock lock(mutex_);
  sleeps_for_.store(&message);
  Stall stall(*this);
  double stalled = 0;
  while (!is_over(message) && !failed_.load() && stalled < stall_seconds) {
    stalled = stall.nap(lock, to_rank_);
  }
  sleeps_for_.store(nullptr);
  if (stalled < stall_seconds) return;
  set_failure({Code::kUnavailable,
               fmt::format("Open MPI has not returned from a call for {:.4g} s", stalled),
               {},
               {}});
}

void Handover::set_failure(const Error& error) {
  if (!failure_) failure_ = error;
  failed_.store(true);
}

bool Handover::leave(const Error& error, double seconds_max) {
  std::unique_lock lock(mutex_);
  orders_.leave = error;
  ordered_.store(true, std::memory_order_release);
  wake_communication(lock);
  lock.lock();
  const bool closed = to_rank_.wait_for(lock, Seconds(seconds_max), [this] { return closed_; });
  set_failure(error);
  return closed;
}

bool Handover::end(double stall_seconds) {
  std::unique_lock lock(mutex_);
  orders_.end = true;
  ordered_.store(true, std::memory_order_release);
  wake_communication(lock);
  lock.lock();
  Stall stall(*this);
  while (!closed_) {
    if (stall.nap(lock, to_rank_) >= stall_seconds) return false;
  }
  return true;
}

void Handover::take(std::vector<Message*>& messages) {
  rounds_.fetch_add(1, std::memory_order_relaxed);
  if (!any_posted_.load(std::memory_order_acquire)) return;
  const std::lock_guard lock(mutex_);
  messages.insert(messages.end(), posted_.begin(), posted_.end());
  posted_.clear();
  any_posted_.store(false, std::memory_order_relaxed);
}

std::optional<Handover::Orders> Handover::orders() {
  if (!ordered_.load(std::memory_order_acquire)) return std::nullopt;
  const std::lock_guard lock(mutex_);
  return orders_;
}

void Handover::complete(Message& message) {
  // Its place may be used again as soon as it is over: only the address counts from then on.
  const Message* address = &message;
  state_of(message).store(Message::State::kOver);
  if (sleeps_for_.load() != address) return;
  { const std::lock_guard lock(mutex_); }  // the rank is about to sleep, or sleeps
  to_rank_.notify_one();
}

void Handover::fail(const Error& error) {
  {
    const std::lock_guard lock(mutex_);
    set_failure(error);
  }
  to_rank_.notify_one();
}

void Handover::close() {
  const std::lock_guard lock(mutex_);
  closed_ = true;
  to_rank_.notify_one();
}

void Handover::rest(double seconds_max) {
  std::unique_lock lock(mutex_);
  rests_ = !news_;
  if (rests_) to_communication_.wait_for(lock, Seconds(seconds_max));
  rests_ = false;
  news_ = false;
}

}  // namespace switchyard
