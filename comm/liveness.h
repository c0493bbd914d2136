#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace switchyard {

// When each rank was last heard of: silence, not slowness, is loss. Pure.
class Liveness {
 public:
  Liveness(uint32_t self, uint32_t size, double silence_seconds, double now)
      : self_(self), silence_seconds_(silence_seconds), heard_(size, now) {}

  void heard(uint32_t rank, double now) { heard_[rank] = now; }

  // The rank that has been silent longest, if that is too long.
  std::optional<uint32_t> lost(double now) const {
    std::optional<uint32_t> lost;
    for (uint32_t rank = 0; rank < heard_.size(); ++rank) {
      if (rank == self_ || now - heard_[rank] < silence_seconds_) continue;
      if (!lost || heard_[rank] < heard_[*lost]) lost = rank;
    }
    return lost;
  }

 private:
  const uint32_t self_;
  const double silence_seconds_;
  std::vector<double> heard_;  // [ranks] when
};

}  // namespace switchyard
