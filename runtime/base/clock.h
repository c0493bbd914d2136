#pragma once

#include <chrono>
#include <thread>

namespace switchyard {

// Seconds on a clock that never goes back.
inline double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Sleeps until that clock shows `seconds`.
inline void sleep_until_seconds(double seconds) {
  using Clock = std::chrono::steady_clock;
  std::this_thread::sleep_until(Clock::time_point(
      std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(seconds))));
}

}  // namespace switchyard
