#pragma once

#include <condition_variable>
#include <cstdint>
#include <limits>
#include <mutex>
#include <vector>

namespace switchyard {

// Lets one of several threads run at a time: the one that holds the baton. What a holder wrote, the
// next one reads.
class Baton {
 public:
  explicit Baton(uint32_t threads) : turns_(threads) {}

  // Gives the baton away; the caller is its holder, or nobody has held it yet.
  void pass(uint32_t to) {
    {
      const std::lock_guard lock(mutex_);
      holder_ = to;
    }
    turns_[to].notify_one();
  }
  // Blocks until the baton comes to `self`.
  void await(uint32_t self) {
    std::unique_lock lock(mutex_);
    turns_[self].wait(lock, [&] { return holder_ == self; });
  }

 private:
  std::mutex mutex_;
  std::vector<std::condition_variable> turns_;  // [threads]
  uint32_t holder_ = std::numeric_limits<uint32_t>::max();
};

}  // namespace switchyard
