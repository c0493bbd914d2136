#pragma once

#include <iosfwd>

namespace switchyard {

class World;

// Where a command reads and writes: results go to `out`, everything else to `err`. Borrowed.
struct Console {
  std::istream& in;
  std::ostream& out;
  std::ostream& err;
  bool out_is_terminal = false;
  bool err_is_terminal = false;
  World* world = nullptr;  // of the job whose rank this process is; null: it is alone
};

}  // namespace switchyard
