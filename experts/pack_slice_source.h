#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "experts/expert_source.h"
#include "runtime/base/ids.h"
#include "runtime/base/result.h"

namespace switchyard {

// Where a whole expert lies in a pack.
struct PackExtent {
  std::shared_ptr<const InputFile> file;
  uint64_t offset = 0;
  uint64_t hash = 0;
};

// kBadData naming the expert: what was read of it has another hash than is wanted, or its file was
// replaced while open.
Status check_extent(const PackExtent& extent, ExpertKey key, uint64_t hash, uint64_t wanted);

// The slice of these experts that `layout` says: one stretch of each matrix, staged unless they
// fill pages. verify() reads the experts whole, for a pack has no checksums of slices.
std::unique_ptr<ExpertSource> make_pack_slice_source(const ExpertLayout& layout,
                                                     std::vector<ExpertKey> keys,
                                                     std::vector<PackExtent> extents);

}  // namespace switchyard
