#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "launch/cli.h"

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  std::cin.tie(nullptr);
  switchyard::Console console{std::cin, std::cout, std::cerr, ::isatty(STDOUT_FILENO) == 1,
                              ::isatty(STDERR_FILENO) == 1};
  return switchyard::run_cli(std::vector<std::string>(argv + 1, argv + argc), console);
}
