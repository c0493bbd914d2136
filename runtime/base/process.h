#pragma once

#include <cstdint>

namespace switchyard {

// The largest resident size this process ever had; 0 where /proc tells nothing. Not getrusage's
// number, which may be that of the process which started this one.
uint64_t peak_resident_bytes();

}  // namespace switchyard
