#pragma once

#include <string>

namespace switchyard {

// While it lives, Ctrl-C (SIGINT) and SIGTERM end the process at once with their exit code; after
// defer() they are asked for by polling, so that work ends at the next good place, and only a
// second one ends the process. At most one at a time.
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
  // The exit code that belongs to it.
  int exit_code() const { return 128 + received(); }
};

}  // namespace switchyard
