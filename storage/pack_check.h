#pragma once

#include <cstdint>
#include <functional>

#include "storage/input_file.h"
#include "storage/pack_format.h"

namespace switchyard {

// Compares a section's bytes with its hash and its padding with zeros, in bounded memory; blocks.
// kBadData naming the section, or the error of reading. `progress` (may be empty) gets the offset
// reached.
Status check_pack_section(const InputFile& file, const PackSection& section,
                          const std::function<void(uint64_t offset)>& progress = {});

// The error for a damaged section.
[[nodiscard]] tl::unexpected<Error> fail_section(const PackSection& section,
                                                 const std::string& what, const std::string& path);

}  // namespace switchyard
