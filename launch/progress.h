#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "launch/console.h"

namespace switchyard {

// What a progress line says: "loading [#####.....]  50 %  1.20 GB/s  3.10 s left".
struct ProgressState {
  std::string label;
  uint64_t done = 0;
  uint64_t all = 0;
  double seconds = 0;  // since the beginning
  bool bytes = true;   // done and all are bytes, else tokens
};

// One line without its end; with a bar for a terminal.
std::string progress_line(const ProgressState& state, bool bar);

// Progress of one piece of work on a console's `err`: one line redrawn on a terminal; elsewhere a
// line every 10 % that took at least a second, or every few seconds. What is over in an instant
// prints nothing. One thread.
class Progress {
 public:
  Progress(Console& console, std::string label, bool bytes = true,
           std::function<double()> clock = {});
  ~Progress();  // takes the terminal's line away
  Progress(const Progress&) = delete;

  void update(uint64_t done, uint64_t all);

 private:
  bool is_due(double now, uint64_t percent) const;

  Console& console_;
  ProgressState state_;
  std::function<double()> clock_;
  double begin_;
  double shown_at_;
  uint64_t percent_shown_ = 0;
  bool drawn_ = false;
};

}  // namespace switchyard
