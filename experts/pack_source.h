#pragma once

#include <cstddef>
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

// Which of a pack's volumes holds an expert: neighbours in a layer lie on different drives, and so
// do an expert's namesakes in neighbouring layers.
constexpr size_t volume_of(ExpertKey key, size_t volumes) {
  return (size_t{key.expert} + key.layer) % volumes;
}

// The section of one expert, ExpertLayout::bytes() of kernel-ready matrices, and what it says about
// itself.
std::string pack_expert_name(ExpertKey key);
PackAttributes pack_expert_attributes(const ExpertLayout& layout);

// The experts of a pack of one volume or more, read straight into their slots. `keys` are in fill
// order. Keeps the files open, not the readers. kBadData for a section that is missing, damaged in
// its attributes or of other dimensions.
Result<std::unique_ptr<ExpertSource>> make_pack_source(const std::vector<PackReader>& volumes,
                                                       uint32_t hidden, uint32_t intermediate,
                                                       std::vector<ExpertKey> keys);

}  // namespace switchyard
