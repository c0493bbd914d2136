#pragma once

// The program inside the test's own process: a command line in, what it says out.

#include <sstream>
#include <string>
#include <vector>

#include "launch/cli.h"

namespace switchyard {

struct Answer {
  int code = 0;
  std::string out, err;
};

inline Answer run(const std::vector<std::string>& arguments, const std::string& input = {}) {
  std::istringstream in(input);
  std::ostringstream out, err;
  Console console{in, out, err, false, false};
  const int code = run_cli(arguments, console);
  return {code, out.str(), err.str()};
}

}  // namespace switchyard
