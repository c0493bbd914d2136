#pragma once

#include <string>

namespace switchyard {

// While it lives, Ctrl-C (SIGINT), SIGTERM and SIGUSR1 (SLURM's warning) end the process at once
// with their exit code; after defer() they are asked for by polling, so that work ends at the next
// good place, and only a second one ends the process. At most one at a time.
class StopSignal {
 public:
  StopSignal();
  ~StopSignal();
  StopSignal(const StopSignal&) = delete;

  void defer();
  // Ends what defer() began.
  void act_at_once();
  // A file that goes when a signal ends the process; "" for none. Not above 4 KiB.
  void remove_at_end(const std::string& path);
  // The signal's number once it came, else 0. Never blocks; any thread.
  int received() const;
  // The exit code that belongs to it: of SIGUSR1 75, run again to go on.
  int exit_code() const;
};

// The ranks of a job other than 0 leave signals to it: it ends the work, and so they end.
void leave_signals_to_rank_0();

}  // namespace switchyard
