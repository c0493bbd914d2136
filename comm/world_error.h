#pragma once

// How the worlds word what went wrong between ranks; the place is always the rank it is about.

#include <cstddef>
#include <cstdint>
#include <string>

#include "comm/world.h"
#include "runtime/base/result.h"

namespace switchyard {

// Where errors lie: "rank 2".
std::string rank_place(uint32_t rank);
// "rows of layer 3".
std::string to_text(const Awaited& awaited);

// A wait on `rank` that took `seconds` and is given up.
Error late_error(uint32_t rank, double seconds, const Awaited& awaited);
// `rank` has been silent for `seconds`.
Error silent_error(uint32_t rank, double seconds, const Awaited& awaited);
// `rank` is gone and did not say why.
Error gone_error(uint32_t rank, const Awaited& awaited);
// `rank` sent `bytes_came` where `bytes` were asked for.
Error length_error(uint32_t rank, size_t bytes, size_t bytes_came, const Awaited& awaited);
// Nobody can go on; this rank waits for `rank`, to take (`sends`) or to send something.
Error deadlock_error(uint32_t rank, bool sends, const Awaited& awaited);
// What the others are told when `rank` leaves with `error`.
Error left_error(uint32_t rank, const Error& error);

}  // namespace switchyard
