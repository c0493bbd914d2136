#include "comm/combine.h"

#include "runtime/base/check.h"
#include "runtime/base/tree.h"
#include "runtime/kernels/kernel_table.h"

namespace switchyard {

float* combine_token(const Kernels& kernels, const CombineToken& token, uint32_t leaves,
                     uint32_t width) {
  CHECK(token.places.size() == token.leaf_rows.size());
  const auto leaf = [&](uint32_t i) { return token.leaf_rows[i]; };
  const auto join = [&](float* left, float* right) {
    kernels.add(left, right, width, left);
    return left;
  };
  return tree_sum(token.places.data(), 0, static_cast<uint32_t>(token.places.size()), 0, leaves,
                  leaf, join);
}

}  // namespace switchyard
