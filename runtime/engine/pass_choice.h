#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

namespace switchyard {

// Whether a step's rows go through the experts in one pass or in two halves, of which one computes
// while the other travels. Two read the weights twice: both are tried for steps of about as many
// rows, then the quicker one is kept, and the other tried again now and then. Pure.
class PassChoice {
 public:
  static constexpr uint32_t kRowsMin = 16;  // fewer are not worth two passes
  static constexpr uint32_t kTries = 4;     // of each at first
  static constexpr uint32_t kAgain = 64;    // steps until the other one is tried again

  bool halves(uint32_t rows) {
    if (rows < kRowsMin) return false;
    Kind& kind = kind_of(rows);
    const bool quicker = kind.seconds[1] < kind.seconds[0];
    kind.steps += 1;
    if (kind.tries[0] < kTries || kind.tries[1] < kTries) return kind.tries[1] < kind.tries[0];
    return kind.steps % kAgain == 0 ? !quicker : quicker;
  }

  // The quickest of the last tries counts: others may have been held up.
  void took(uint32_t rows, bool halves, double seconds) {
    if (rows < kRowsMin) return;
    Kind& kind = kind_of(rows);
    const size_t which = halves ? 1 : 0;
    const double for_row = seconds / rows;
    const bool first = kind.tries[which] == 0;
    kind.seconds[which] =
        first || for_row < kind.seconds[which] ? for_row : kForget * kind.seconds[which];
    kind.tries[which] += 1;
  }

 private:
  static constexpr double kForget = 1.02;
  struct Kind {
    std::array<double, 2> seconds = {};
    std::array<uint32_t, 2> tries = {};
    uint32_t steps = 0;
  };
  Kind& kind_of(uint32_t rows) { return kinds_[std::bit_width(rows)]; }

  std::array<Kind, 33> kinds_ = {};  // by the number of bits of the rows
};

}  // namespace switchyard
