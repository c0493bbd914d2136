#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "runtime/base/result.h"

namespace switchyard {

// The leaves of the expert trees of a model's layers that have routers: [layers][place] → expert,
// each layer a permutation. It belongs to the model: results depend on it.
using ExpertOrder = std::vector<std::vector<uint16_t>>;

ExpertOrder plain_order(size_t layers, uint32_t experts);  // 0 … experts − 1 everywhere

// A JSON list of lists.
std::string encode_order(const ExpertOrder& order);
// That, or one list for all layers. kBadData naming `where` unless it is an order of so many layers
// and experts.
Result<ExpertOrder> parse_order(std::string_view json, size_t layers, uint32_t experts,
                                const std::string& where);

}  // namespace switchyard
