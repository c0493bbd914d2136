#pragma once

#include <cstdint>
#include <vector>

namespace switchyard {

// Consecutive KV heads, each with the query heads of its group.
struct HeadRange {
  uint32_t first = 0;
  uint32_t count = 0;
  uint32_t end() const { return first + count; }
};

// Those that `rank` of `ranks` computes; none where there are more ranks than heads.
HeadRange heads_of(uint32_t rank, uint32_t ranks, uint32_t kv_heads);

// The largest nodes of the head tree over [0, kv_heads) that make up `heads`, ascending.
std::vector<HeadRange> head_nodes(HeadRange heads, uint32_t kv_heads);

}  // namespace switchyard
