#pragma once

#include <cstddef>
#include <span>

#include "experts/expert_cache.h"
#include "storage/open_queue.h"

namespace switchyard {

// The queue that a cache of `source` reads through, into `slab`: the options' own, or the drive's,
// with a warning when reads are slower than they might be.
QueueChoice open_cache_queue(const ExpertSource& source, const ExpertCacheOptions& options,
                             std::span<std::byte> slab);

}  // namespace switchyard
