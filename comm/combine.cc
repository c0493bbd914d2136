#include "comm/combine.h"

#include <array>

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

float* combine_parts(const Kernels& kernels, std::span<const PlannedPick> picks,
                     std::span<float* const> parts, std::span<const uint16_t> place_of,
                     uint32_t width) {
  std::array<uint32_t, kTopKMax> places;
  std::array<float*, kTopKMax> rows;
  size_t count = 0;
  for (size_t i = 0; i < picks.size(); ++i) {
    const bool begins = i == 0 || picks[i].part != picks[i - 1].part;
    if (!begins || parts[picks[i].part] == nullptr) continue;
    places[count] = place_of[picks[i].expert];
    rows[count++] = parts[picks[i].part];
  }
  return combine_token(kernels, {std::span(places).first(count), std::span(rows).first(count)},
                       static_cast<uint32_t>(place_of.size()), width);
}

}  // namespace switchyard
