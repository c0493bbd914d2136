#pragma once

#include <string>

namespace switchyard {

// Several lines: version, instruction sets and what was built in.
std::string version_text();

}  // namespace switchyard
