#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "comm/mpi_world.h"
#include "launch/bootstrap.h"
#include "launch/cli.h"
#include "launch/rank_streams.h"
#include "launch/stop_signal.h"

namespace {

// A closed standard descriptor would become that of the next file opened, and be written to.
void fill_standard_descriptors() {
  int fd = 0;
  while (fd <= STDERR_FILENO && fd >= 0) fd = ::open("/dev/null", O_RDWR);
  if (fd > STDERR_FILENO) ::close(fd);
}

// SLURM's warning comes once, be it before there is a command to save anything.
void end_on_early_warning() {
  std::signal(SIGUSR1, [](int) { ::_exit(static_cast<int>(switchyard::Code::kStopped)); });
}

// The job that this process is a rank of; null: none.
switchyard::Result<std::unique_ptr<switchyard::World>> join_job() {
  const auto environment = switchyard::process_environment();
  const auto kind = TRY(switchyard::decide_launch(environment));
  if (kind == switchyard::LaunchKind::kPlain) return nullptr;
  switchyard::set_up_open_mpi(environment);
  return switchyard::MpiWorld::create();
}

int run(const std::vector<std::string>& arguments, switchyard::Console& console) {
  const auto world = join_job();
  if (!world) {
    const bool apart = world.error().code == switchyard::Code::kUsage;
    if (apart && !switchyard::is_first_apart(switchyard::process_environment())) {
      return static_cast<int>(world.error().code);
    }
    return switchyard::report_error(world.error(), console);
  }
  console.world = world->get();
  if (console.world == nullptr || console.world->rank() == 0) {
    return switchyard::run_cli(arguments, console);
  }
  // Rank 0 speaks; what others have to say is marked.
  switchyard::PrefixedStream err(console.err, fmt::format("[r{}] ", console.world->rank()));
  switchyard::NoStream nothing;
  std::istream no_input(nullptr);
  switchyard::Console quiet{no_input, nothing, err, false, false, console.world};
  switchyard::leave_signals_to_rank_0();
  const int code = switchyard::run_cli(arguments, quiet);
  // The launcher ends all ranks when the first one fails: rank 0 is to have said why by then.
  if (code != 0) std::this_thread::sleep_for(std::chrono::seconds(1));
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_descriptors();
  end_on_early_warning();
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is an error to report, not the end
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  switchyard::Console console{std::cin, std::cout, std::cerr, ::isatty(STDOUT_FILENO) == 1,
                              ::isatty(STDERR_FILENO) == 1};
  return run(std::vector<std::string>(argv + 1, argv + argc), console);
}
