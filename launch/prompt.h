#pragma once

// Text that comes with -p or -f.

#include <optional>
#include <string>

#include "launch/console.h"
#include "runtime/base/result.h"

namespace switchyard {

class OptionList;

struct TextOptions {
  std::optional<std::string> prompt;  // -p
  std::optional<std::string> file;    // -f

  // `what` says in the help page what the text is.
  void add_to(OptionList& options, const std::string& what);
  int given() const { return (prompt ? 1 : 0) + (file ? 1 : 0); }
};

// The text of the one that was given; "-" is standard input. kBadData unless it is UTF-8.
Result<std::string> read_text(const TextOptions& options, Console& console);

}  // namespace switchyard
