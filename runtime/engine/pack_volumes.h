#pragma once

#include <string>
#include <vector>

#include "runtime/base/result.h"
#include "storage/pack_reader.h"

namespace switchyard {

// The pack at `path` and the other volumes it names, each where it was written or beside the pack.
// kNoInput naming a volume that is missing, kBadData one that belongs to another pack.
Result<std::vector<PackReader>> open_volumes(const std::string& path);

}  // namespace switchyard
