#include <fmt/format.h>
#include <gtest/gtest.h>
#include <rapidcheck/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "runtime/base/tree.h"

namespace switchyard {
namespace {

// The tree sum over [begin, end) spelled as text, so that associations can be compared.
std::string spelled(const std::vector<uint32_t>& active, uint32_t begin, uint32_t end) {
  const auto leaf = [&](uint32_t i) { return std::to_string(active[i]); };
  const auto join = [](const std::string& a, const std::string& b) {
    return fmt::format("({}+{})", a, b);
  };
  return tree_sum(active.data(), 0, static_cast<uint32_t>(active.size()), begin, end, leaf, join);
}

// What lets a rank send one partial for a node: the whole's association is made of the halves'.
RC_GTEST_PROP(Tree, OfTheWholeIsTheTreeOfItsHalves, (const std::set<uint8_t>& some)) {
  const uint32_t leaves = *rc::gen::inRange(2u, 257u);
  std::vector<uint32_t> active, left, right;
  const uint32_t split = tree_split(0, leaves);
  for (const uint8_t i : some) {
    if (i >= leaves) continue;
    active.push_back(i);
    (i < split ? left : right).push_back(i);
  }
  RC_PRE(!active.empty());
  const std::string whole = spelled(active, 0, leaves);
  if (left.empty()) {
    RC_ASSERT(whole == spelled(right, split, leaves));
  } else if (right.empty()) {
    RC_ASSERT(whole == spelled(left, 0, split));
  } else {
    RC_ASSERT(whole ==
              fmt::format("({}+{})", spelled(left, 0, split), spelled(right, split, leaves)));
  }
}

// Aligned power-of-two blocks are nodes of the tree: a good placement at every world size.
RC_GTEST_PROP(Tree, HasAlignedBlocksAsNodes, ()) {
  const uint32_t level = *rc::gen::inRange(0u, 8u), block = 1u << level;
  const uint32_t leaves = *rc::gen::inRange(2u, 300u);
  const uint32_t begin = *rc::gen::inRange(0u, (leaves + block - 1) / block) * block;
  const uint32_t end = std::min(begin + block, leaves);
  std::vector<uint32_t> all, inside;
  for (uint32_t i = 0; i < leaves; ++i) {
    all.push_back(i);
    if (i >= begin && i < end) inside.push_back(i);
  }
  RC_ASSERT(spelled(all, 0, leaves).find(spelled(inside, begin, end)) != std::string::npos);
}

}  // namespace
}  // namespace switchyard
