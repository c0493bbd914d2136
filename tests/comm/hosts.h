#pragma once

// Hosts on this machine for a job whose network breaks: network namespaces, so for root alone.

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <filesystem>
#include <optional>
#include <string>

#include "tests/comm/run_line.h"

namespace switchyard {

inline std::optional<std::string> why_no_hosts() {
  if (const auto why = why_no_mpi()) return why;
  if (::geteuid() != 0) return "only root may make network namespaces";
  if (!has_program("ip")) return "no ip";
  // One test program at a time: the lock goes with it.
  static const int lock =
      ::open((std::filesystem::temp_directory_path() / "switchyard-hosts.lock").c_str(),
             O_CREAT | O_RDWR | O_CLOEXEC, 0600);
  if (lock < 0 || ::flock(lock, LOCK_EX) != 0) return "no lock";
  if (std::filesystem::exists("/run/netns/sw-switch")) return "hosts are up already";
  return std::nullopt;
}

// Three hosts on a switch, in a folder of their own; gone with this.
class Hosts {
 public:
  Hosts() {
    std::string name = (std::filesystem::temp_directory_path() / "switchyard-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    up_ = hosts("up 3").exit_code == 0;
  }
  ~Hosts() {
    hosts("down");
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  Hosts(const Hosts&) = delete;

  bool up() const { return up_; }
  std::string folder() const { return folder_; }
  // SW_RIG is where the script keeps its state.
  std::string line(const std::string& arguments) const {
    return fmt::format("SW_RIG={}/rig exec timeout -s KILL 60 {}/hosts {}", folder_,
                       SWITCHYARD_RIGS, arguments);
  }
  Ended hosts(const std::string& arguments) const { return run_line(line(arguments)); }

 private:
  std::string folder_;
  bool up_ = false;
};

}  // namespace switchyard
