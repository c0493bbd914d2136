#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "experts/expert_source.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"
#include "storage/pack_format.h"

namespace switchyard {

class PackReader;

// The section of one expert, ExpertLayout::bytes() of kernel-ready matrices, and what it says about
// itself.
std::string pack_expert_name(ExpertKey key);
PackAttributes pack_expert_attributes(const ExpertLayout& layout);

// The experts of a pack, read straight into their slots. `keys` are in fill order. Keeps the file
// open, not the reader. kBadData for a section that is missing, damaged in its attributes or of
// other dimensions.
Result<std::unique_ptr<ExpertSource>> make_pack_source(const PackReader& pack, uint32_t hidden,
                                                       uint32_t intermediate,
                                                       std::vector<ExpertKey> keys);

}  // namespace switchyard
