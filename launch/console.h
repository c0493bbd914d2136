#pragma once

#include <iosfwd>

namespace switchyard {

// Where a command reads and writes: results go to `out`, everything else to `err`. Borrowed.
struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
};

}  // namespace switchyard
