#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

#include "launch/console.h"
#include "runtime/base/result.h"

namespace switchyard {

class OptionList;

// One sub-command. `prepare` adds its options and returns what runs once they are parsed.
struct Command {
  // Give the exit code, or an error which is printed as one line.
  struct Body {
    std::function<Result<int>(Console&)> run;
    // What the ranks of a job other than 0 do meanwhile; empty: nothing.
    std::function<Result<int>(Console&)> serve = {};
  };
  std::string name;
  std::string help;      // one line
  std::string examples;  // whole command lines, indented, each ended by a newline
  Body (*prepare)(OptionList& options);
};

// All of them, in the order of the help page.
std::span<const Command> all_commands();

// Prints the one line, unless another rank does, and tells the other ranks; gives the exit code.
int report_error(const Error& error, Console& console);

// The whole program: `arguments` come without the program's name. Returns the exit code.
int run_cli(const std::vector<std::string>& arguments, Console& console);

}  // namespace switchyard
