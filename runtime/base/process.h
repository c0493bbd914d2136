#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace switchyard {

// The largest resident size this process ever had; 0 where /proc tells nothing. Not getrusage's
// number, which may be that of the process which started this one.
uint64_t peak_resident_bytes();

// A variable of the environment; an empty one counts as none.
std::optional<std::string> environment(const char* name);

}  // namespace switchyard
