#pragma once

// Where the thread of a rank and the thread that communicates for it meet: messages and orders one
// way; what is over and what failed, the other.

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <optional>
#include <vector>

#include "comm/in_flight.h"
#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

class Handover {
 public:
  // What the rank waits for; no message: it does not wait.
  struct Wait {
    const Message* message = nullptr;
    Awaited awaited = {};
    double since = 0;
  };
  struct Orders {
    bool end = false;            // the rank has nothing more to send or to receive
    std::optional<Error> leave;  // it gives up
  };

  // --- For the rank's thread.

  void post(Message& message);
  bool is_over(Message& message) const;
  // Blocks until the message is over, or until the world has failed: its error. If the other thread
  // makes no round for `stall_seconds`, kUnavailable.
  Status wait(Message& message, const Awaited& awaited, double stall_seconds);
  // The error with which the world has failed, if it has. For both threads.
  std::optional<Error> failure();
  // Wait until the other thread is done: whether it is. `leave` waits a bounded time, `end` as long
  // as the other thread makes rounds or has been still for less than `stall_seconds`.
  bool leave(const Error& error, double seconds_max);
  bool end(double stall_seconds);

  // --- For the thread that communicates.

  // Appends what was posted. Says that this thread is alive, too.
  void take(std::vector<Message*>& messages);
  std::optional<Orders> orders();  // nothing when there are none
  bool rank_waits() const { return waits_.load(std::memory_order_relaxed); }
  // Calls use(wait) while the rank cannot stop waiting.
  template <class Use>
  void look_at_wait(const Use& use) {
    const std::lock_guard lock(mutex_);
    use(static_cast<const Wait&>(waiting_));
  }
  void complete(Message& message);
  void fail(const Error& error);
  void close();  // the last call of this thread
  // Sleeps until the rank posts, waits or orders something, at most this long. Returns at once if
  // it did since the last rest.
  void rest(double seconds_max);

 private:
  // Counts how long the other thread has made no round, in naps of this one: on the clock, a
  // process that was stopped for a while itself would find the other thread still.
  class Stall;

  void wake_communication(std::unique_lock<std::mutex>& lock);
  void set_failure(const Error& error);  // unless there is one; under the mutex
  void sleep_until_over(Message& message, double stall_seconds);

  std::mutex mutex_;
  std::condition_variable to_communication_, to_rank_;
  // Under the mutex.
  std::vector<Message*> posted_;
  Orders orders_;
  Wait waiting_;
  std::optional<Error> failure_;
  bool news_ = false;  // for the other thread
  bool rests_ = false;
  bool closed_ = false;
  // For a look without it.
  std::atomic<bool> any_posted_ = false, ordered_ = false, failed_ = false, waits_ = false;
  std::atomic<const Message*> sleeps_for_ = nullptr;  // the rank has to be woken for this
  std::atomic<uint64_t> rounds_ = 0;
};

}  // namespace switchyard
