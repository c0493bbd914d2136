#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "experts/expert_source.h"

namespace switchyard {

// The experts of `source`, which outlives the result, read from a copy in `folder`, best on a drive
// of this host. The copy has no name any more when this returns: it is gone with the process,
// however that ends. Blocks; `progress` gets bytes copied. kNoInput for a folder that is not there,
// kPermission, kIo for a full drive.
Result<std::unique_ptr<ExpertSource>> stage_experts(
    const ExpertSource& source, const std::string& folder,
    const std::function<void(uint64_t bytes_done)>& progress);

}  // namespace switchyard
