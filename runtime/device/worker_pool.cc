#include "runtime/device/worker_pool.h"

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/base/check.h"

namespace switchyard {
namespace {

constexpr uint64_t kWorkMin = 8192;  // elements that take about as long as waking a thread
constexpr int kSpins = 4000;         // 60 to 200 us of pauses: longer than the gaps inside a layer

// The processors this process may use.
std::vector<int> allowed_processors() {
  std::vector<int> processors;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (::sched_getaffinity(0, sizeof set, &set) != 0) return processors;
  for (int i = 0; i < CPU_SETSIZE; ++i) {
    if (CPU_ISSET(i, &set)) processors.push_back(i);
  }
  return processors;
}

}  // namespace

struct WorkerPool::State {
  std::mutex mutex;
  std::condition_variable wake;
  std::condition_variable done;
  const std::function<void(uint32_t)>* work = nullptr;
  std::atomic<uint64_t> generation{0};  // raised under the mutex, read while spinning
  std::atomic<uint32_t> running{0};
  std::atomic<bool> stopping{false};
  std::vector<std::thread> threads;

  // Spins until `ready`, then sleeps on `condition`.
  template <class Ready>
  void wait(std::condition_variable& condition, const Ready& ready) {
    for (int i = 0; i < kSpins; ++i) {
      if (ready()) return;
      _mm_pause();
    }
    std::unique_lock lock(mutex);
    condition.wait(lock, ready);
  }

  void serve(uint32_t thread) {
    uint64_t seen = 0;
    while (true) {
      wait(wake, [&] { return generation.load(std::memory_order_acquire) != seen; });
      seen = generation.load(std::memory_order_acquire);
      if (stopping.load(std::memory_order_relaxed)) return;
      (*work)(thread);
      if (running.fetch_sub(1, std::memory_order_acq_rel) == 1) {
        const std::lock_guard lock(mutex);
        done.notify_one();
      }
    }
  }

  void start_generation() {
    {
      const std::lock_guard lock(mutex);
      generation.fetch_add(1, std::memory_order_acq_rel);
    }
    wake.notify_all();
  }
};

WorkerPool::WorkerPool(uint32_t threads) : state_(std::make_unique<State>()) {
  CHECK(threads >= 1);
  const std::vector<int> processors = allowed_processors();
  for (uint32_t i = 1; i < threads; ++i) {
    state_->threads.emplace_back([state = state_.get(), i] { state->serve(i); });
    if (processors.size() < threads) continue;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(processors[i], &set);
    // Pinning helps speed only; a refusal changes nothing else.
    (void)::pthread_setaffinity_np(state_->threads.back().native_handle(), sizeof set, &set);
  }
}

WorkerPool::~WorkerPool() {
  state_->stopping = true;
  state_->start_generation();
  for (std::thread& thread : state_->threads) thread.join();
}

uint32_t WorkerPool::threads() const { return static_cast<uint32_t>(state_->threads.size()) + 1; }

void WorkerPool::run(const std::function<void(uint32_t)>& work) {
  if (state_->threads.empty()) return work(0);
  state_->work = &work;
  state_->running.store(threads() - 1, std::memory_order_relaxed);
  state_->start_generation();
  work(0);
  state_->wait(state_->done,
               [this] { return state_->running.load(std::memory_order_acquire) == 0; });
}

void WorkerPool::split(uint32_t count, uint64_t item_work,
                       const std::function<void(uint32_t, uint32_t)>& work) {
  const uint64_t worth = count * item_work / kWorkMin;
  const auto parts = static_cast<uint32_t>(std::clamp<uint64_t>(worth, 1, threads()));
  if (parts == 1) {
    if (count > 0) work(0, count);
    return;
  }
  run([&](uint32_t thread) {
    const auto at = [&](uint32_t i) {
      return static_cast<uint32_t>(static_cast<uint64_t>(count) * std::min(i, parts) / parts);
    };
    const uint32_t begin = at(thread), end = at(thread + 1);
    if (begin < end) work(begin, end);
  });
}

}  // namespace switchyard
