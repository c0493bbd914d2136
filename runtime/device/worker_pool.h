#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <utility>

namespace switchyard {

// A fixed set of threads that run one function together. The caller is thread 0. Idle threads spin
// briefly, then sleep. One thread at a time may call run().
class WorkerPool {
 public:
  // `threads` ≥ 1, the caller included; the others are pinned to the processors of this process's
  // affinity mask when there are at least as many, the caller is left where it is.
  explicit WorkerPool(uint32_t threads);
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  uint32_t threads() const;

  // Calls work(thread) once on every thread and returns when all have returned. Blocks.
  void run(const std::function<void(uint32_t thread)>& work);

  // What the caller's thread does between pieces of work: a moment at most. Whoever cuts work into
  // pieces calls between() on thread 0.
  void set_between(std::function<void()> between) { between_ = std::move(between); }
  void between() const {
    if (between_) between_();
  }

  // Calls work(begin, end) on consecutive ranges of [0, count), one range a thread. `item_work` is
  // what one item costs, in elements touched or so: threads that would get too little stay asleep.
  void split(uint32_t count, uint64_t item_work,
             const std::function<void(uint32_t begin, uint32_t end)>& work);

 private:
  struct State;
  std::unique_ptr<State> state_;
  std::function<void()> between_;
};

}  // namespace switchyard
