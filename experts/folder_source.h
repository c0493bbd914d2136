#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "experts/expert_source.h"
#include "runtime/base/expert_names.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

class Checkpoint;

// The experts of a Hugging Face folder, interleaved as they come. `keys` are in fill order;
// `checkpoint` outlives the source. kBadData for a tensor that is missing or of another shape;
// kConfig for types other than BF16, F16 and F32, or more than one of them.
Result<std::unique_ptr<ExpertSource>> make_folder_source(
    const Checkpoint& checkpoint, uint32_t hidden, uint32_t intermediate,
    std::vector<ExpertKey> keys, const std::function<ExpertTensorNames(ExpertKey)>& names);

}  // namespace switchyard
