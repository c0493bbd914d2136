#include "runtime/engine/head_range.h"

#include "runtime/base/tree.h"

namespace switchyard {
namespace {

void add_nodes(HeadRange heads, uint32_t begin, uint32_t end, std::vector<HeadRange>& nodes) {
  if (heads.first >= end || heads.end() <= begin) return;
  if (heads.first <= begin && end <= heads.end()) {
    nodes.push_back({begin, end - begin});
    return;
  }
  const uint32_t split = tree_split(begin, end);
  add_nodes(heads, begin, split, nodes);
  add_nodes(heads, split, end, nodes);
}

}  // namespace

HeadRange heads_of(uint32_t rank, uint32_t ranks, uint32_t kv_heads) {
  const auto begin = static_cast<uint32_t>(uint64_t{rank} * kv_heads / ranks);
  const auto end = static_cast<uint32_t>((uint64_t{rank} + 1) * kv_heads / ranks);
  return {begin, end - begin};
}

std::vector<HeadRange> head_nodes(HeadRange heads, uint32_t kv_heads) {
  std::vector<HeadRange> nodes;
  if (heads.count > 0) add_nodes(heads, 0, kv_heads, nodes);
  return nodes;
}

}  // namespace switchyard
