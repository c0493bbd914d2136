#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace switchyard {

// When messages get through links of limited rates: each rank has one link out and one in, each
// takes one message after the other. Bytes flow through both at once. A rate of zero is no limit.
// Calls come in the order of their times.
class SimulatedLinks {
 public:
  SimulatedLinks(uint32_t ranks, double out_bytes_per_second, double in_bytes_per_second)
      : out_{out_bytes_per_second, std::vector<double>(ranks)},
        in_{in_bytes_per_second, std::vector<double>(ranks)} {}

  // When a message's first and last byte leave `from`, which sends it now.
  struct Departure {
    double first, last;
  };
  Departure depart(uint32_t from, double now, size_t bytes) {
    const double first = std::max(now, out_.free_at[from]);
    return {first, take(out_, from, first, bytes)};
  }
  // When the last byte of a message whose first reaches `to` now is there; from the sender it can
  // come at `last`.
  double arrive(uint32_t to, double now, double last, size_t bytes) {
    return std::max(last, take(in_, to, std::max(now, in_.free_at[to]), bytes));
  }

 private:
  struct Side {
    double bytes_per_second;
    std::vector<double> free_at;  // [ranks]
  };
  static double take(Side& side, uint32_t rank, double begin, size_t bytes) {
    if (side.bytes_per_second <= 0) return begin;
    side.free_at[rank] = begin + static_cast<double>(bytes) / side.bytes_per_second;
    return side.free_at[rank];
  }

  Side out_, in_;
};

}  // namespace switchyard
