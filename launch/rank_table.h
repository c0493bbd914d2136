#pragma once

// Who runs where: the ranks of a job, their processors and links, for `doctor`.

#include <cstdint>
#include <string>
#include <vector>

#include "launch/checks.h"
#include "runtime/base/json.h"
#include "runtime/base/result.h"
#include "scheduler/exchange_cost.h"

namespace switchyard {

class World;

struct RankPlace {
  std::string host;
  std::vector<uint32_t> processors;  // that it may run on, ascending
  uint64_t memory_bytes = 0;         // its part of what its host may use; 0: not known
};

struct RankTable {
  std::vector<RankPlace> ranks;
  RoundRates links;
};

// Blocks until rank 0 asks, as long as that takes; then the links are measured. What the ranks but
// 0 do. The world's errors.
Status tell_place(World& world);
// Asks all ranks; on rank 0. The world's errors; kInternal for an answer that is none.
Result<RankTable> collect_places(World& world);

// "0-3,8".
std::string processor_list(const std::vector<uint32_t>& processors);
// A line for each rank, below a heading.
std::string places_text(const std::vector<RankPlace>& ranks);
// What the links give, and every group of ranks of a host that has fewer processors than ranks.
std::vector<Check> check_ranks(const RankTable& table);
Json places_json(const RankTable& table);

}  // namespace switchyard
