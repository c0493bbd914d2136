#pragma once

// Runs lines of the shell that start jobs of several ranks, and tells what became of them.

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>

#include <array>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "runtime/base/clock.h"

namespace switchyard {

struct Ended {
  int exit_code = -1;  // 137: killed, because it took too long or by itself
  double seconds = 0;
  std::string out;  // of all ranks, both streams

  // What rank `rank` said, without its mark.
  std::vector<std::string> said_by(uint32_t rank) const {
    std::vector<std::string> lines;
    const std::string mark = fmt::format("[{}] ", rank);
    for (size_t at = 0; at < out.size();) {
      const size_t end = std::min(out.find('\n', at), out.size());
      if (out.compare(at, mark.size(), mark) == 0) {
        lines.push_back(out.substr(at + mark.size(), end - at - mark.size()));
      }
      at = end + 1;
    }
    return lines;
  }
};

// Runs a line of the shell; a hard limit of `seconds_max` must be part of it. `on_line` sees the
// lines as they come.
inline Ended run_line(const std::string& line,
                      const std::function<void(const std::string&)>& on_line = {}) {
  Ended ended;
  const double begin = now_seconds();
  FILE* pipe = ::popen((line + " 2>&1").c_str(), "r");
  if (pipe == nullptr) return ended;
  std::array<char, 4096> buffer{};
  while (::fgets(buffer.data(), buffer.size(), pipe) != nullptr) {
    ended.out += buffer.data();
    if (on_line) on_line(buffer.data());
  }
  const int status = ::pclose(pipe);
  ended.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  ended.seconds = now_seconds() - begin;
  return ended;
}

inline bool has_program(const std::string& name) {
  return run_line("command -v " + name + " >/dev/null").exit_code == 0;
}

// What these tests cannot do here, in one line; nothing when they can.
inline std::optional<std::string> why_no_mpi() {
  if (std::string(SWITCHYARD_SANITIZE) == "thread") return "TSan does not know what MPI does";
  if (!has_program("mpirun")) return "no mpirun";
  return std::nullopt;
}

// What mpirun has to be told in a test: MPI leaks; root is fine; more ranks than processors, too.
inline std::string mpirun_command(const std::string& options) {
  ::setenv("ASAN_OPTIONS", "detect_leaks=0", 0);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT", "1", 1);
  ::setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1", 1);
  return "exec timeout -s KILL 60 mpirun --oversubscribe --bind-to none " + options;
}

}  // namespace switchyard
