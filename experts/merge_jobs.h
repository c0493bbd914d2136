#pragma once

#include <span>
#include <vector>

#include "experts/prefetcher.h"

namespace switchyard {

// The jobs of guesses about different tokens as one list, each expert once: its probability is that
// any of the tokens wants it, 1 − Π (1 − p). Jobs of one expert are as many layers ahead. The
// nearest come first, then the most probable. Pure.
std::vector<PrefetchJob> merge_jobs(std::span<const PrefetchJob> jobs);

}  // namespace switchyard
