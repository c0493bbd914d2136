#include <fcntl.h>
#include <unistd.h>

#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "launch/cli.h"

namespace {

// A closed standard descriptor would become that of the next file opened, and be written to.
void fill_standard_descriptors() {
  int fd = 0;
  while (fd <= STDERR_FILENO && fd >= 0) fd = ::open("/dev/null", O_RDWR);
  if (fd > STDERR_FILENO) ::close(fd);
}

}  // namespace

int main(int argc, char** argv) {
  fill_standard_descriptors();
  std::signal(SIGXFSZ, SIG_IGN);  // a file at its size limit is an error to report, not the end
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  switchyard::Console console{std::cin, std::cout, std::cerr, ::isatty(STDOUT_FILENO) == 1,
                              ::isatty(STDERR_FILENO) == 1};
  return switchyard::run_cli(std::vector<std::string>(argv + 1, argv + argc), console);
}
