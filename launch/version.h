#pragma once

#include <string>

namespace switchyard {

// Several lines: version, instruction sets and what was built in.
std::string version_text();
// One line that is the same wherever this build runs.
std::string build_name();

}  // namespace switchyard
