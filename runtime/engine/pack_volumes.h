#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "storage/pack_reader.h"

namespace switchyard {

inline constexpr size_t kVolumesMax = 64;

// Whether the file at `path` is a volume of the pack that has this id.
bool is_volume_of(const std::string& path, const std::string& id);

// The pack at `path` and the other volumes it names, each where it was written or beside the pack.
// kNoInput naming a volume that is missing, kBadData one that belongs to another pack.
Result<std::vector<PackReader>> open_volumes(const std::string& path);

}  // namespace switchyard
